/* An actor: a process that carries out operations, one message each, and answers them. */
#include "scn.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

struct table *table;
int my_seat;

struct table *map_table(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, TABLE_FD, 0);
}

void serve(void)
{
	static char message[8192];

	for (;;) {
		ssize_t n = recv(ACTOR_FD(my_seat), message, sizeof message - 1, 0);

		if (n <= 0)
			_exit(0);
		carry_out(message, n);
		int leave = n_words && !strcmp(word(0), "exit");

		send(ACTOR_FD(my_seat), answer, answer_length, 0);
		if (leave)
			_exit(0);
	}
}

void start_actor(int seat, int executed)
{
	my_seat = seat;
	table = map_table();
	catch_bad_accesses();
	signal(SIGCHLD, SIG_IGN); /* children that have ended go at once: their pids must answer ESRCH */
	map_special_pages();
	map_arrays();
	if (executed)
		send(ACTOR_FD(seat), "ret=0", 5, 0);
	else
		run_on_cpu_0();
	serve();
}
