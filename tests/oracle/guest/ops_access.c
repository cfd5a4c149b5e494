/* Operations that touch memory, with the signal of a bad access caught. */
#include "scn.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>

#define WORDS (PAGE / 8)

static sigjmp_buf bad_access;
static volatile int accessing;
static volatile unsigned long at; /* the page whose turn it is */

static void on_signal(int signal)
{
	if (accessing)
		siglongjmp(bad_access, signal);
	_exit(128 + signal);
}

void catch_bad_accesses(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

static void say_signal(int signal, struct span span)
{
	accessing = 0;
	say("ret=-1 sig=%s page=%lu", signal == SIGBUS ? "SIGBUS" : "SIGSEGV", page_index(span, at));
}

static __attribute__((noinline)) void read_pages(unsigned long start, unsigned long end)
{
	for (unsigned long a = start; a < end; a += PAGE) {
		at = a;
		(void)*(volatile char *)a;
	}
}

/* Plain stores: with one thread the emulator runs a locked read-modify-write as a load and a store, two faults. */
static __attribute__((noinline)) void write_pages(unsigned long start, unsigned long end)
{
	for (unsigned long a = start; a < end; a += PAGE) {
		at = a;
		*(volatile char *)((a & ~(PAGE - 1)) + PAGE - 8) = 1;
	}
}

static void op_touch(void)
{
	static char warm[PAGE * 2] __attribute__((aligned(4096)));
	struct span s = span_at(1);
	struct rusage before, after;
	int signal;

	need(3);
	void (*pages)(unsigned long, unsigned long) = word(2)[0] == 'w' ? write_pages : read_pages;
	/* Once for show, so that what this code itself needs is there before faults are counted. */
	pages((unsigned long)warm, (unsigned long)warm + PAGE);
	getrusage(RUSAGE_SELF, &after);
	getrusage(RUSAGE_SELF, &before);
	accessing = 1;
	if ((signal = sigsetjmp(bad_access, 1))) {
		say_signal(signal, s);
		return;
	}
	pages(s.start, s.start + s.length);
	accessing = 0;
	getrusage(RUSAGE_SELF, &after);
	say("ret=0");
	if (option("faults", NULL))
		say(" minflt=%ld majflt=%ld", after.ru_minflt - before.ru_minflt, after.ru_majflt - before.ru_majflt);
}

static uint64_t pattern(uint64_t seed, uint64_t page, uint64_t index)
{
	uint64_t x = seed * 0x9E3779B97F4A7C15ULL + page * 0xBF58476D1CE4E5B9ULL + index * 0x94D049BB133111EBULL + 1;

	x ^= x >> 31;
	x *= 0xD6E8FEB86659FD93ULL;
	return x ^ x >> 29;
}

static int verify_page(const uint64_t *words, uint64_t seed, uint64_t page)
{
	int differs = 0;

	for (size_t i = 0; i < WORDS - 1; i++) /* "touch w" stores into the last one */
		differs |= words[i] != pattern(seed, page, i);
	return differs;
}

static void fill_or_verify(int fill)
{
	struct span s = span_at(1);
	uint64_t seed = n_words > 2 ? number(word(2)) : 1;
	unsigned long bad = 0;
	int signal;

	accessing = 1;
	if ((signal = sigsetjmp(bad_access, 1))) {
		say_signal(signal, s);
		return;
	}
	for (unsigned long a = s.start; a < s.start + s.length; a += PAGE) {
		uint64_t *words = (uint64_t *)a, page = page_index(s, a);

		at = a;
		if (fill)
			for (size_t i = 0; i < WORDS; i++)
				words[i] = pattern(seed, page, i);
		else
			bad += verify_page(words, seed, page);
	}
	accessing = 0;
	say("ret=0");
	if (!fill)
		say(" bad_pages=%lu", bad);
}

static void op_fill(void)
{
	fill_or_verify(1);
}

static void op_verify(void)
{
	fill_or_verify(0);
}

const struct operation access_operations[] = {
	{"touch", op_touch}, {"fill", op_fill}, {"verify", op_verify}, {NULL, NULL},
};
