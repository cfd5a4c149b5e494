/*
 * The controller: reads a scenario and lets one actor after the other carry out one line at a time.
 *
 * An actor's place is a seat, with a socket of its own. Messages for an actor that has died stay in its socket, and the
 * next actor that gets the seat answers them first.
 */
#include "scn.h"
#include <ctype.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define POLL_MS 200
#define MOST_POLLS 600 /* two minutes */
#define MESSAGE_ROOM 4600

static int make_table(void)
{
	int fd = memfd_create("table", 0), size = 1 << 18;

	if (fd < 0 || ftruncate(fd, PAGE))
		return -1;
	dup2(fd, TABLE_FD);
	close(fd);
	table = map_table();
	for (int i = 0; i < ACTORS; i++) {
		int ends[2];

		socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
		setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
		dup2(ends[0], CONTROL_FD(i));
		dup2(ends[1], ACTOR_FD(i));
		close(ends[0]);
		close(ends[1]);
	}
	return 0;
}

static void start_main(void)
{
	pid_t pid = fork();

	if (!pid) {
		execl(PROGRAM, "scn", "actor", "0", (char *)NULL);
		_exit(127);
	}
	table->seat[0].used = 1;
	table->seat[0].pid = pid;
	strcpy(table->seat[0].name, "main");
}

static int is_dead(int pid)
{
	char path[64], text[512], *state;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (read_file(path, text, sizeof text) <= 0)
		return 1;
	state = strrchr(text, ')');
	return state && (state[2] == 'Z' || state[2] == 'X');
}

/* Of several with one name the last one; -1 for none. */
static int seat_of(const char *name, size_t length)
{
	int found = -1;

	for (int i = 0; i < ACTORS; i++)
		if (table->seat[i].used && strlen(table->seat[i].name) == length && !strncmp(table->seat[i].name, name, length))
			found = i;
	return found;
}

/* What goes to the actor. The seat of a new actor is kept, and named to its parent, before it exists. */
static size_t message_for(const char *body, char *message)
{
	int free_seat = 0;

	if (strncmp(body, "spawn ", 6))
		return snprintf(message, MESSAGE_ROOM, "%s", body);
	while (free_seat < ACTORS && table->seat[free_seat].used)
		free_seat++;
	if (free_seat < ACTORS) {
		table->seat[free_seat].used = 1;
		snprintf(table->seat[free_seat].name, sizeof table->seat[0].name, "%s", body + 6);
	}
	return snprintf(message, MESSAGE_ROOM, "%s slot=%d", body, free_seat);
}

/* Whether an answer came; else why not is printed. */
static int wait_for(int seat)
{
	struct pollfd answered = { CONTROL_FD(seat), POLLIN, 0 };

	for (int polls = 0; polls <= MOST_POLLS; polls++) {
		if (poll(&answered, 1, POLL_MS))
			return 1;
		if (is_dead(table->seat[seat].pid)) {
			puts("actor-died");
			return 0;
		}
	}
	puts("timeout");
	return 0;
}

/* One line; 0 when nobody is left to carry out the next one. */
static int carry_out_line(char *text, int number, int *status)
{
	static char message[MESSAGE_ROOM], reply[ANSWER_ROOM + 1];
	size_t first = strcspn(text, " \t");
	char *body = text;
	int seat = 0;

	if (text[first - 1] == ':') {
		seat = seat_of(text, first - 1);
		body = text + first + strspn(text + first, " \t");
	}
	printf("%d %s => ", number, text);
	fflush(stdout);
	if (seat < 0) {
		puts("script-error=no-such-actor");
		*status = 1;
		return 1;
	}
	size_t length = message_for(body, message);

	send(CONTROL_FD(seat), message, length, 0);
	if (!wait_for(seat)) {
		table->seat[seat].used = 0;
		*status = 1;
		return seat != 0;
	}
	ssize_t n = recv(CONTROL_FD(seat), reply, ANSWER_ROOM, 0);

	reply[n > 0 ? n : 0] = 0;
	puts(reply);
	fflush(stdout);
	if (strstr(reply, "script-error"))
		*status = 1;
	if (strcmp(body, "exit"))
		return 1;
	for (int i = 0; i < 500 && !is_dead(table->seat[seat].pid); i++)
		usleep(2000);
	table->seat[seat].used = 0;
	return seat != 0;
}

/* Without comment and without blanks around it. */
static char *trimmed(char *line)
{
	line[strcspn(line, "\n#")] = 0;
	line += strspn(line, " \t");
	size_t n = strlen(line);

	while (n && isspace((unsigned char)line[n - 1]))
		line[--n] = 0;
	return line;
}

int run_scenario(const char *path)
{
	char buffer[4096];
	FILE *file = fopen(path, "r");
	int number = 0, status = 0;

	if (!file || make_table()) {
		perror(path);
		return 2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	start_main();
	while (fgets(buffer, sizeof buffer, file)) {
		char *text = trimmed(buffer);

		number++;
		if (*text && !carry_out_line(text, number, &status))
			break;
	}
	fclose(file);
	for (int i = 0; i < ACTORS; i++)
		if (table->seat[i].used && table->seat[i].pid > 1)
			kill(table->seat[i].pid, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return status;
}
