/* Several tasks, signals and endings, for `record.py`: what each case does, `test_processes.py` does on a machine. */

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MARK = 0x10000, MS = 1000000 };
static char stack[65536];
static long page[512];
static int status;

static void nap(long ns)
{
	struct timespec time = { ns / 1000000000, ns % 1000000000 };

	syscall(SYS_nanosleep, &time, 0L);
}

static void long_nap(void)
{
	struct timespec time = { 9, 0 };

	syscall(SYS_nanosleep, &time, page);
}

static void leave(long code) { syscall(SYS_exit_group, code); }
static void reap(long pid, long options) { syscall(SYS_wait4, pid, &status, options, 0L); }
static long me(void) { return syscall(SYS_getpid); }
static void handler(int sig) { }

static int naps_and_ends(void *arg)
{
	nap(300 * MS);
	syscall(SYS_gettid);
	return 0;
}

static int ends_all(void *arg)
{
	nap(300 * MS);
	leave(4);
	return 0;
}

static void thread(int (*main)(void *))
{
	clone(main, stack + sizeof stack, CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, 0);
}

static void run(const char *name)
{
	long pid, parent;

	if (!strcmp(name, "exit")) {
		if (!syscall(SYS_fork)) {
			nap(200 * MS);
			leave(3);
		}
		reap(-1, 0);
		reap(-1, 0);
		leave(256 + 5);
	} else if (!strcmp(name, "killed")) {
		pid = syscall(SYS_fork);
		if (!pid)
			long_nap();
		nap(200 * MS);
		syscall(SYS_kill, pid, (long)SIGKILL);
		syscall(SYS_wait4, pid, &status, 0L, page);
	} else if (!strcmp(name, "handler")) {
		signal(SIGUSR1, handler);
		parent = me();
		if (!syscall(SYS_fork)) {
			nap(200 * MS);
			syscall(SYS_kill, parent, (long)SIGUSR1);
			nap(400 * MS);
			leave(0);
		}
		long_nap();
		reap(-1, 0);
	} else if (!strcmp(name, "restart")) {
		struct sigaction action = { .sa_handler = handler };

		sigaction(SIGUSR1, &action, 0);
		parent = me();
		if (!syscall(SYS_fork)) {
			nap(200 * MS);
			syscall(SYS_kill, parent, (long)SIGUSR1);
			nap(400 * MS);
			leave(0);
		}
		reap(-1, 0);
		reap(-1, WNOHANG);
	} else if (!strcmp(name, "segv")) {
		*(volatile char *)8 = 1;
	} else if (!strcmp(name, "accerr")) {
		*(volatile char *)mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
	} else if (!strcmp(name, "bus")) {
		long fd = syscall(SYS_memfd_create, "empty", 0L);

		status = *(volatile char *)mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
	} else if (!strcmp(name, "term")) {
		syscall(SYS_kill, me(), (long)SIGTERM);
	} else if (!strcmp(name, "kill")) {
		syscall(SYS_kill, me(), (long)SIGKILL);
	} else if (!strcmp(name, "ignored")) {
		syscall(SYS_kill, me(), (long)SIGCONT);
		syscall(SYS_kill, me(), (long)SIGWINCH);
		signal(SIGUSR1, SIG_IGN);
		syscall(SYS_kill, me(), (long)SIGUSR1);
	} else if (!strcmp(name, "pipe")) {
		int fds[2];

		syscall(SYS_pipe, fds);
		if (!syscall(SYS_fork)) {
			syscall(SYS_read, (long)fds[0], page, 10L);
			leave(0);
		}
		nap(200 * MS);
		syscall(SYS_write, (long)fds[1], "hello", 5L);
		reap(-1, 0);
		syscall(SYS_close, (long)fds[0]);
		syscall(SYS_write, (long)fds[1], "x", 1L);
	} else if (!strcmp(name, "child-segv")) {
		pid = syscall(SYS_fork);
		if (!pid) {
			nap(100 * MS);
			*(volatile char *)8 = 1;
		}
		reap(pid, 0);
	} else if (!strcmp(name, "nobody-yet")) {
		if (!syscall(SYS_fork)) {
			nap(200 * MS);
			syscall(SYS_exit, 300L);
		}
		nap(100 * MS);
		syscall(SYS_wait4, -1L, &status, (long)WNOHANG, page);
		syscall(SYS_wait4, -1L, 0L, 0L, 0L);
	} else if (!strcmp(name, "thread")) {
		thread(naps_and_ends);
		nap(600 * MS);
		me();
	} else if (!strcmp(name, "thread-ends-all")) {
		thread(ends_all);
		long_nap();
	} else if (!strcmp(name, "leader-first")) {
		thread(naps_and_ends);
		syscall(SYS_exit, 3L);
	} else if (!strcmp(name, "orphan")) {
		if (!syscall(SYS_fork)) {
			nap(300 * MS);
			syscall(SYS_getppid);
			leave(0);
		}
		leave(0);
	}
	leave(0);
}

int main(int argc, char **argv)
{
	syscall(MARK);
	run(argv[1]);
}
