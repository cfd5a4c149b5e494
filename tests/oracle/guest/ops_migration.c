/* Operations that move pages, and those that ask move_pages where pages are. */
#include "scn.h"
#include <sys/mman.h>
#include <sys/syscall.h>

#define MOST 131072
#define NODES_SHOWN 64

/* One behind the other, a page behind the last, and then nothing: a call with too large a count reads and writes on from
 * one into the next, and finds an end before it has overwritten anything else. */
static struct {
	void *pages[MOST];
	int nodes[MOST];
	int status[MOST];
	char behind[PAGE];
} *arrays;

void map_arrays(void)
{
	arrays = mmap((void *)0x400000000, sizeof *arrays, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static long sys_move_pages(long pid, unsigned long count, void *pages, void *nodes, void *status, unsigned long flags)
{
	return syscall(SYS_move_pages, pid, count, pages, nodes, status, flags);
}

/* The second mask is read first: of two wrong ones it is the one that is named. */
static void op_migrate_pages(void)
{
	need(4);
	void *to = mask_of(word(3), mask2), *from = mask_of(word(2), mask1);
	long pid = target_of(word(1));
	long result = syscall(SYS_migrate_pages, pid, number(option("maxnode", "65")), from, to);

	if (option("coarse", NULL) && result > 0)
		say("ret=positive");
	else
		say_result(result);
}

static long add_pages(struct span s, long n)
{
	for (unsigned long a = s.start; a < s.start + s.length && n < MOST; a += PAGE)
		arrays->pages[n++] = (void *)a;
	return n;
}

/* ADDR or ADDR:LEN, the latter one entry a page; a region alone is all its pages. */
static long pages_of(const char *text)
{
	char copy[2048], *rest;
	long n = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (char *w = strtok_r(copy, ",", &rest); w; w = strtok_r(NULL, ",", &rest)) {
		struct span s = span_of(w);

		if (!strchr(w, ':') && (strchr(w, '+') || strchr(w, '.') || !s.region))
			s.length = 1;
		n = add_pages(s, n);
	}
	return n;
}

/* "1", "0,1,2", "0,1*5": the last one repeats. "cycle:0,1": all of them repeat. */
static void nodes_of(const char *text, long count)
{
	char copy[2048], *rest;
	int cycle = !strncmp(text, "cycle:", 6);
	long n = 0;

	snprintf(copy, sizeof copy, "%s", cycle ? text + 6 : text);
	for (char *w = strtok_r(copy, ",", &rest); w; w = strtok_r(NULL, ",", &rest)) {
		char *end;
		int node = strtol(w, &end, 0);
		long times = *end == '*' ? strtol(end + 1, NULL, 0) : 1;

		while (times-- && n < MOST)
			arrays->nodes[n++] = node;
	}
	for (long first = n; n < count; n++)
		arrays->nodes[n] = !first ? 0 : cycle ? arrays->nodes[n - first] : arrays->nodes[first - 1];
}

static void clear_status(long count)
{
	for (long i = 0; i < count; i++)
		arrays->status[i] = UNWRITTEN;
}

static void say_status(const char *key, long count)
{
	say(" %s=", key);
	list_start();
	for (long i = 0; i < count; i++)
		list_add_status(arrays->status[i]);
	list_end();
}

static void op_move_pages(void)
{
	void *pages = arrays->pages, *nodes = arrays->nodes;
	long count = 1;

	need(4);
	if (!strcmp(word(2), "bad") || !strcmp(word(2), "null"))
		pages = bad_or(word(2), NULL);
	else
		count = strcmp(word(2), "none") ? pages_of(word(2)) : 0;
	if (!strcmp(word(3), "query") || !strcmp(word(3), "null"))
		nodes = NULL;
	else if (!strcmp(word(3), "bad"))
		nodes = (void *)BAD_POINTER;
	else
		nodes_of(word(3), count);
	void *status = bad_or(option("status", NULL), arrays->status);
	clear_status(count);
	long pid = target_of(word(1));
	const char *asked = option("count", NULL);

	say_result(sys_move_pages(pid, asked ? number(asked) : (unsigned long)count, pages, nodes, status,
		flags_of(option("flags", nodes ? "MOVE" : "0"), MBIND_FLAGS)));
	if (status == arrays->status)
		say_status("status", count);
}

/* Asks about every page of the RANGE; -1 when the call failed, which is then said. */
static long ask(void)
{
	long count = add_pages(span_at(1), 0);

	clear_status(count);
	long result = sys_move_pages(0, count, arrays->pages, NULL, arrays->status, 0);
	if (!result)
		return count;
	say_result(result);
	return -1;
}

static void op_nodes(void)
{
	long count = ask();

	if (count < 0)
		return;
	say("ret=0");
	say_status("nodes", count);
}

static void op_nodeset(void)
{
	long count = ask(), absent = 0, other = 0;
	unsigned char set[64] = { 0 };

	if (count < 0)
		return;
	for (long i = 0; i < count; i++) {
		int node = arrays->status[i];

		if (node >= 0 && node < 512)
			set[node / 8] |= 1 << (node % 8);
		else if (node == -ENOENT)
			absent++;
		else
			other++;
	}
	say("ret=0 set=");
	say_mask(set, sizeof set);
	say(" absent=%ld other=%ld", absent, other);
}

static void op_count(void)
{
	long count = ask(), per_node[NODES_SHOWN] = { 0 }, other = 0;

	if (count < 0)
		return;
	for (long i = 0; i < count; i++) {
		int node = arrays->status[i];

		if (node >= 0 && node < NODES_SHOWN)
			per_node[node]++;
		else
			other++;
	}
	say("ret=0");
	for (int node = 0; node < NODES_SHOWN; node++)
		if (per_node[node])
			say(" N%d=%ld", node, per_node[node]);
	say(" other=%ld", other);
}

const struct operation migration_operations[] = {
	{"migrate_pages", op_migrate_pages}, {"move_pages", op_move_pages}, {"nodes", op_nodes},
	{"nodeset", op_nodeset}, {"count", op_count}, {NULL, NULL},
};
