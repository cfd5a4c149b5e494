/* Which of its three roles the program plays. */
#include "scn.h"

int main(int n, char **arguments)
{
	if (getpid() == 1)
		start_guest();
	if (n > 2 && !strcmp(arguments[1], "run"))
		return run_scenario(arguments[2]);
	if (n > 2 && !strcmp(arguments[1], "actor"))
		start_actor(atoi(arguments[2]), n > 3);
	fprintf(stderr, "usage: scn run FILE\n");
	return 2;
}
