/* Operations that use up memory, hold on to it, or take swap away. */
#include "scn.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/uio.h>

#define BIND 2

static int pipe_ends[2]; /* zero: there is none */

static unsigned long free_kib(unsigned long node)
{
	char path[96], *found;

	snprintf(path, sizeof path, "/sys/devices/system/node/node%lu/meminfo", node);
	if (read_file(path, big, sizeof big) < 0 || !(found = strstr(big, "MemFree:")))
		return 0;
	return strtoul(found + strlen("MemFree:"), NULL, 10);
}

/* Lock what is free on a node until about so many MiB are left. */
static void op_eat(void)
{
	unsigned char mask[8] = { 0 };

	need(4);
	unsigned long node = number(word(2)), leave = number(word(3)) << 10;

	write_file("/proc/sys/vm/compact_memory", "1");
	unsigned long kib = free_kib(node), length = kib > leave ? ((kib - leave) << 10) & ~(PAGE - 1) : 0;

	if (!length) {
		say("ret=-1 err=nothing-to-eat");
		return;
	}
	void *p = mmap((void *)next_base(), length, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	mask[node / 8] |= 1 << (node % 8); /* a node that has free memory is below 64 */
	if (p == MAP_FAILED || sys_mbind((unsigned long)p, length, BIND, mask, 65, 0) || mlock(p, length)) {
		say_result(-1);
		return;
	}
	add_region(word(1), (unsigned long)p, length);
	say("ret=0");
}

/* An extra reference on up to 16 pages, through vmsplice into a pipe. */
static void op_pin(void)
{
	struct span s = span_at(1);

	if (!pipe_ends[0] && pipe(pipe_ends)) {
		say_result(-1);
		return;
	}
	struct iovec pages = { (void *)s.start, s.length };
	ssize_t n = vmsplice(pipe_ends[1], &pages, 1, SPLICE_F_NONBLOCK);

	if (n > 0)
		say("ret=0 pinned=%ld", n / (long)PAGE);
	else
		say_result(n);
}

static void op_unpin(void)
{
	if (pipe_ends[0]) {
		close(pipe_ends[0]);
		close(pipe_ends[1]);
	}
	pipe_ends[0] = pipe_ends[1] = 0;
	say("ret=0");
}

static void op_swapoff(void)
{
	say_result(swapoff(SWAP_DEVICE));
}

static void op_swapon(void)
{
	say_result(swapon(SWAP_DEVICE, 0));
}

const struct operation scarcity_operations[] = {
	{"eat", op_eat}, {"pin", op_pin}, {"unpin", op_unpin}, {"swapoff", op_swapoff}, {"swapon", op_swapon},
	{NULL, NULL},
};
