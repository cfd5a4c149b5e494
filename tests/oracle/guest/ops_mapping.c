/* Operations that change the address space: mmap and its relatives, mlock, madvise. */
#include "scn.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define HEAP_ALIGN (60 * PAGE) /* "page index modulo number of nodes" is that of address 0 for up to six nodes */

static const struct name MAP_WORDS[] = {
	{"noreserve", MAP_NORESERVE}, {"populate", MAP_POPULATE}, {"nonblock", MAP_NONBLOCK}, {"locked", MAP_LOCKED},
	{"hugetlb", MAP_HUGETLB}, {"huge_2mb", 21 << 26}, {"huge_1gb", 30 << 26},
	{"growsdown", MAP_GROWSDOWN}, {NULL, 0},
};
static const struct name MREMAP_FLAGS[] = { {"maymove", 1}, {"fixed", 2}, {"dontunmap", 4}, {NULL, 0} };
static const struct name LOCK_FLAGS[] = { {"current", 1}, {"future", 2}, {"onfault", 4}, {NULL, 0} };
static const struct name SYNC_FLAGS[] = { {"async", 1}, {"invalidate", 2}, {"sync", 4}, {NULL, 0} };

static void must_be_new(const char *name)
{
	if (find_region(name, strlen(name)))
		script_error("region-exists");
}

static void op_mmap(void)
{
	need(3);
	must_be_new(word(1));
	unsigned long length = length_of(word(2)), base;
	const char *file = option("file", NULL), *at = option("at", NULL);
	int flags = strcmp(option("kind", "private"), "shared") ? MAP_PRIVATE : MAP_SHARED, fd = -1;

	flags |= words_in(option("flags", ""), MAP_WORDS);
	flags |= at ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	if (!file)
		flags |= MAP_ANONYMOUS;
	else if ((fd = open_file(file, O_RDWR)) < 0) {
		say("open ");
		say_result(-1);
		return;
	}
	base = at ? span_of(at).start : next_base();
	void *p = mmap((void *)base, length, protection_of(option("prot", "rw")), flags, fd,
		length_of(option("off", "0")));
	if (fd >= 0)
		close_after(fd);
	if (p == MAP_FAILED) {
		say_result(-1);
		return;
	}
	add_region(word(1), (unsigned long)p, length);
	say("ret=0");
}

static void op_munmap(void)
{
	struct span s = span_at(1);

	say_result(munmap((void *)s.start, s.length));
}

static void op_drop(void)
{
	struct span s = span_at(1);
	int result = munmap((void *)s.start, s.length);

	if (!result && s.region)
		s.region->used = 0;
	say_result(result);
}

/* To a place of its own, as a new region gets it, unless flags or an address say otherwise. */
static void op_mremap(void)
{
	struct span s = span_at(1);
	const char *given = option("flags", NULL), *to = option("to", NULL), *as = option("as", NULL);
	unsigned long flags = given ? flags_of(given, MREMAP_FLAGS) : MREMAP_MAYMOVE | MREMAP_FIXED;

	need(3);
	if (!s.region)
		script_error("syntax");
	if (as)
		must_be_new(as);
	unsigned long length = length_of(word(2)), target = to ? span_of(to).start : flags & ~1UL ? next_base() : 0;
	void *p = mremap((void *)s.start, s.length, length, (int)flags, (void *)target);

	if (p == MAP_FAILED) {
		say_result(-1);
		return;
	}
	if (as)
		add_region(as, (unsigned long)p, length);
	else {
		s.region->base = (unsigned long)p;
		s.region->length = length;
	}
	say("ret=0");
	if (given)
		say(" moved=%d", (unsigned long)p != s.start);
}

/* The heap, as a region that begins at a page of its own: what lies between the heap's start and it is unmapped. */
static void op_brk(void)
{
	need(3);
	struct region *r = find_region(word(1), strlen(word(1)));
	unsigned long length = length_of(word(2)), now = syscall(SYS_brk, 0), base, end;

	base = r ? r->base : (now + HEAP_ALIGN - 1) / HEAP_ALIGN * HEAP_ALIGN;
	end = base + length;
	if ((unsigned long)syscall(SYS_brk, end) != end) {
		errno = ENOMEM;
		say_result(-1);
		return;
	}
	if (r)
		r->length = length;
	else {
		unsigned long first = (now + PAGE - 1) & ~(PAGE - 1);

		if (base > first)
			munmap((void *)first, base - first);
		add_region(word(1), base, length);
	}
	say("ret=0");
}

static void op_mprotect(void)
{
	struct span s = span_at(1);

	need(3);
	say_result(mprotect((void *)s.start, s.length, protection_of(word(2))));
}

static void op_msync(void)
{
	struct span s = span_at(1);

	need(3);
	say_result(msync((void *)s.start, s.length, (int)flags_of(word(2), SYNC_FLAGS)));
}

static void op_mlock(void)
{
	struct span s = span_at(1);
	const char *flags = option("flags", NULL);

	if (!flags)
		say_result(mlock((void *)s.start, s.length));
	else
		say_result(syscall(SYS_mlock2, s.start, s.length, strcmp(flags, "onfault") ? number(flags) : 1));
}

static void op_munlock(void)
{
	struct span s = span_at(1);

	say_result(munlock((void *)s.start, s.length));
}

static void op_mlockall(void)
{
	need(2);
	say_result(mlockall((int)flags_of(word(1), LOCK_FLAGS)));
}

static void op_munlockall(void)
{
	say_result(munlockall());
}

static void op_madvise(void)
{
	struct span s = span_at(1);

	need(3);
	say_result(madvise((void *)s.start, s.length, (int)flags_of(word(2), ADVICE)));
}

/* Ranges are addresses of this actor's regions: a child has the same ones. */
static void op_process_madvise(void)
{
	struct iovec ranges[16];
	char copy[2048], *rest;
	int n = 0, fd;

	need(4);
	snprintf(copy, sizeof copy, "%s", word(2));
	for (char *w = strtok_r(copy, ",", &rest); w && n < 16; w = strtok_r(NULL, ",", &rest)) {
		struct span s = span_of(w);

		ranges[n++] = (struct iovec){ (void *)s.start, s.length };
	}
	unsigned long advice = flags_of(word(3), ADVICE);
	long pid = strcmp(word(1), "self") ? target_of(word(1)) : getpid();

	if ((fd = syscall(SYS_pidfd_open, pid, 0)) < 0) {
		say("pidfd_open ");
		say_result(-1);
		return;
	}
	say_result(syscall(SYS_process_madvise, fd, ranges, n, advice, number(option("flags", "0"))));
	close(fd);
}

const struct operation mapping_operations[] = {
	{"mmap", op_mmap}, {"munmap", op_munmap}, {"drop", op_drop}, {"mremap", op_mremap}, {"brk", op_brk},
	{"mprotect", op_mprotect}, {"msync", op_msync}, {"mlock", op_mlock}, {"munlock", op_munlock},
	{"mlockall", op_mlockall}, {"munlockall", op_munlockall}, {"madvise", op_madvise},
	{"process_madvise", op_process_madvise}, {NULL, NULL},
};
