/*
 * Records what a real kernel does with memory areas: the answers in answers.txt.
 *
 * Runs as init of a guest with the 'quad' topology of the conformance answers (Linux 6.12, norandmaps, huge pages
 * off), reads operations from /ops and writes to the second serial line. answers.txt is a valid /ops: what stands
 * behind "=>", and lines that begin with a blank or '#', is not read.
 *
 * Addresses are pages of an arena, "P N" is a range of N pages:
 *
 *   R                        empty the arena, default policy, nothing locked
 *   m P N PROT FLAGS         mmap            u P N           munmap
 *   p P N PROT               mprotect        a P N ADVICE    madvise
 *   b P N MODE MASK FLAGS    mbind           h P N NODE      set_mempolicy_home_node
 *   l P N FLAGS              mlock2          n P N           munlock
 *   x P N NEWN FLAGS NEWP    mremap          c P N           mincore
 *   s MODE MASK              set_mempolicy   g P FLAGS       get_mempolicy
 *   w P N, r P N             store or load one byte a page, until one fails
 *   k CPU                    run there       q N, U          RLIMIT_MEMLOCK of N pages; give up root
 *   f ... e                  fork: what stands between is done by the child, and the parent waits
 *
 * After each operation comes the state, unless it is what the process wrote last: a line an area (pages, rights,
 * VmFlags, policy and counts), and a line with the node of each page ('.' none, 'F' no area or the zero page).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define ARENA 0x10000000000UL
#define PAGES 32
#define MAX_OPS 100000

static char *ops[MAX_OPS];
static int nr_ops;
static char state[65536], written[65536];
static sigjmp_buf after_fault;

static void on_fault(int signo) { siglongjmp(after_fault, signo); }

static int in_arena(unsigned long addr) { return addr >= ARENA && addr < ARENA + PAGES * PAGE; }

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof set, &set);
}

/* Drop a field that depends on what else the machine did. */
static void without(char *line, const char *word)
{
	char *at = strstr(line, word), *end;
	if (!at)
		return;
	end = strchr(at + 1, ' ');
	memmove(at, end ? end : "", end ? strlen(end) + 1 : 1);
}

static void read_state(void)
{
	char line[1024], policy[1024], rights[8], *out = state;
	unsigned long start, end, at = 0;
	void *page[PAGES];
	int status[PAGES];
	FILE *smaps = fopen("/proc/self/smaps", "r"), *numa = fopen("/proc/self/numa_maps", "r");

	for (*out = 0; fgets(line, sizeof line, smaps);) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) == 3 && strlen(rights) == 4) {
			at = start;
		} else if (in_arena(at) && !strncmp(line, "VmFlags: ", 9)) {
			do
				fgets(policy, sizeof policy, numa);
			while (strtoul(policy, 0, 16) != at);
			line[strcspn(line, "\n")] = policy[strcspn(policy, "\n")] = 0;
			without(line + 8, " sd");
			without(policy, " active=");
			out += sprintf(out, "  %lu-%lu %s|%s|%s\n", (at - ARENA) / PAGE, (end - ARENA) / PAGE, rights,
				       line + 9, strchr(policy, ' ') + 1);
		}
	}
	fclose(smaps);
	fclose(numa);
	for (int i = 0; i < PAGES; i++)
		page[i] = (void *)(ARENA + i * PAGE);
	syscall(SYS_move_pages, 0, PAGES, page, 0, status, 0);
	out += sprintf(out, "  nodes ");
	for (int i = 0; i < PAGES; i++)
		*out++ = status[i] >= 0 ? '0' + status[i] : status[i] == -EFAULT ? 'F' : '.';
	strcpy(out, "\n");
}

static unsigned long arg[8];

static unsigned long address(int i) { return ARENA + arg[i] * PAGE; }
static unsigned long bytes(int i) { return arg[i] * PAGE; }

static void touch(int store)
{
	volatile unsigned long n = 0;

	if (!sigsetjmp(after_fault, 1)) {
		for (; n < arg[1]; n++) {
			volatile char *at = (char *)address(0) + n * PAGE;
			if (store)
				*at = 1;
			else
				(void)*at;
		}
	}
	printf(" => %lu", n);
}

static void answer(long result)
{
	if (result == -1)
		printf(" => -%d", errno);
	else if (in_arena(result))
		printf(" => @%lu", (result - ARENA) / PAGE);
	else
		printf(" => %ld", result);
}

static void one(char op)
{
	unsigned long mask[16] = {0};
	unsigned char vec[PAGES];
	struct rlimit limit = {bytes(0), bytes(0)};
	int mode = 0;

	errno = 0;
	switch (op) {
	case 'R':
		munmap((void *)ARENA, PAGES * PAGE);
		syscall(SYS_set_mempolicy, 0, 0, 0);
		munlockall();
		break;
	case 'm': answer((long)mmap((void *)address(0), bytes(1), arg[2], arg[3], -1, 0)); break;
	case 'u': answer(munmap((void *)address(0), bytes(1))); break;
	case 'p': answer(mprotect((void *)address(0), bytes(1), arg[2])); break;
	case 'a': answer(madvise((void *)address(0), bytes(1), arg[2])); break;
	case 'b': answer(syscall(SYS_mbind, address(0), bytes(1), arg[2], &arg[3], 65, arg[4])); break;
	case 'h': answer(syscall(450, address(0), bytes(1), arg[2], 0)); break;
	case 'l': answer(syscall(SYS_mlock2, address(0), bytes(1), arg[2])); break;
	case 'n': answer(munlock((void *)address(0), bytes(1))); break;
	case 'x': answer(syscall(SYS_mremap, address(0), bytes(1), bytes(2), arg[3], address(4))); break;
	case 's': answer(syscall(SYS_set_mempolicy, arg[0], &arg[1], 65)); break;
	case 'w': case 'r': touch(op == 'w'); break;
	case 'k': pin(arg[0]); break;
	case 'q': answer(setrlimit(RLIMIT_MEMLOCK, &limit)); break;
	case 'U': answer(syscall(SYS_setresuid, 1000, 1000, 1000)); break;
	case 'c':
		if (mincore((void *)address(0), bytes(1), vec)) {
			answer(-1);
			break;
		}
		printf(" => ");
		for (unsigned long i = 0; i < arg[1]; i++)
			printf("%d", vec[i] & 1);
		break;
	case 'g':
		if (syscall(SYS_get_mempolicy, &mode, mask, 1024, arg[1] & 2 ? address(0) : 0, arg[1]))
			answer(-1);
		else
			printf(" => %d %lx", mode, mask[0]);
		break;
	}
	printf("\n");
}

/* Do operations from i on; a child's end with its 'e'. */
static void run(int i)
{
	for (; i < nr_ops; i++) {
		memset(arg, 0, sizeof arg);
		char *at = ops[i] + 1;
		for (int n = 0; n < 8 && *at; n++)
			arg[n] = strtoul(at, &at, 0);
		printf("%s", ops[i]);
		if (*ops[i] == 'f') {
			printf("\n");
			fflush(stdout);
			if (!fork()) {
				run(i + 1);
				_exit(0);
			}
			wait(0);
			for (int open = 1; open && ++i < nr_ops;)
				open += (*ops[i] == 'f') - (*ops[i] == 'e');
		} else if (*ops[i] == 'e') {
			printf("\n");
			fflush(stdout);
			return;
		} else {
			one(*ops[i]);
		}
		read_state();
		if (strcmp(state, written))
			printf("%s", strcpy(written, state));
		fflush(stdout);
	}
}

int main(void)
{
	struct sigaction act = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
	char line[256];
	FILE *file;

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, 0);
	mount("dev", "/dev", "devtmpfs", 0, 0);
	dup2(open("/dev/ttyS1", O_WRONLY), 1);
	sigaction(SIGSEGV, &act, 0);
	pin(0);
	file = fopen("/ops", "r");
	while (nr_ops < MAX_OPS && fgets(line, sizeof line, file)) {
		line[strcspn(line, "=\n")] = 0;
		while (*line && line[strlen(line) - 1] == ' ')
			line[strlen(line) - 1] = 0;
		if (*line && *line != ' ' && *line != '#')
			ops[nr_ops++] = strdup(line);
	}
	if (!fork()) {
		run(0);
		_exit(0);
	}
	wait(0);
	printf("# done\n");
	fflush(stdout);
	sleep(1);
	reboot(RB_POWER_OFF);
}
