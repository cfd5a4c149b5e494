/* Operations that make, replace and end processes. */
#include "scn.h"

/* The controller has appended slot=K, the seat that it keeps for the child. */
static void op_spawn(void)
{
	need(2);
	int seat = number(option("slot", "0"));
	pid_t child = fork();

	if (!child) {
		my_seat = seat;
		serve();
	}
	if (child > 0 && seat < ACTORS)
		table->seat[seat].pid = child;
	say(child > 0 ? "ret=0" : "ret=-1 err=%s", error_name(errno));
}

/* The new program answers: regions are gone, the policy of the task stays. */
static void op_exec(void)
{
	char seat[16];

	snprintf(seat, sizeof seat, "%d", my_seat);
	execl(PROGRAM, "scn", "actor", seat, "executed", (char *)NULL);
	say_result(-1);
}

/* The answer; the actor ends when it is sent. */
static void op_exit(void)
{
	say("ret=0");
}

static void op_sleep(void)
{
	need(2);
	usleep(number(word(1)) * 1000);
	say("ret=0");
}

const struct operation control_operations[] = {
	{"spawn", op_spawn}, {"exec", op_exec}, {"exit", op_exit}, {"sleep", op_sleep}, {NULL, NULL},
};
