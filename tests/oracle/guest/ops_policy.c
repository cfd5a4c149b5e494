/* Memory policy: set_mempolicy, mbind, get_mempolicy, set_mempolicy_home_node. */
#include "scn.h"
#include <sys/syscall.h>

#define UNTOUCHED 0x5a5a /* in the mode before the call */
#define EDGE_BYTES 8
#define SYS_SET_HOME_NODE 450 /* not in every libc yet */

long sys_mbind(unsigned long start, unsigned long length, unsigned long mode, const void *mask, unsigned long maxnode,
	unsigned long flags)
{
	return syscall(SYS_mbind, start, length, mode, mask, maxnode, flags);
}

static void op_set_mempolicy(void)
{
	need(3);
	void *mask = mask_of(word(2), mask1);
	long mode = (int)flags_of(word(1), MODES);

	say_result(syscall(SYS_set_mempolicy, mode, mask, number(option("maxnode", "65"))));
}

static void op_mbind(void)
{
	struct span s = span_at(1);

	need(4);
	void *mask = mask_of(word(3), mask1);
	say_result(sys_mbind(s.start, s.length, flags_of(word(2), MODES), mask, number(option("maxnode", "65")),
		flags_of(option("flags", "0"), MBIND_FLAGS)));
}

static void say_words(const unsigned char *mask, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 8) {
		unsigned long value = 0;

		memcpy(&value, mask + i, bytes - i < 8 ? bytes - i : 8);
		say("%s%lx", i ? "," : "", value);
	}
}

static void say_mode_or_node(int mode, int is_node, int raw)
{
	if (is_node)
		say(" node=%d", mode);
	else if (raw)
		say(" mode=0x%x", mode);
	else {
		say(" mode=");
		say_mode(mode);
	}
}

/* All ones before the call: the ones at its end are what the kernel did not write. */
static void say_written(const unsigned char *mask, size_t room, int raw, long result)
{
	while (room && mask[room - 1] == 0xff)
		room--;
	if (room) {
		say(" nodes=");
		if (raw)
			say_words(mask, room);
		else
			say_mask(mask, room);
		say(" wrote=%zu", room);
	} else if (!result)
		say(" nodes=untouched");
}

static void op_get_mempolicy(void)
{
	unsigned long flags = flags_of(option("flags", "0"), GET_MEMPOLICY_FLAGS);
	unsigned long maxnode = number(option("maxnode", "1024"));
	const char *where = option("addr", NULL), *mask_word = option("mask", NULL);
	unsigned long address = where ? span_of(where).start : 0;
	int mode = UNTOUCHED, raw = option("raw", NULL) != NULL;
	int edge = mask_word && !strcmp(mask_word, "edge");
	void *mode_pointer = bad_or(option("mode", NULL), &mode);
	unsigned char *mask = edge ? (unsigned char *)edge_page + PAGE - EDGE_BYTES : bad_or(mask_word, mask_out);

	memset(mask_out, 0xff, MASK_BYTES);
	if (edge)
		memset(mask, 0xff, EDGE_BYTES);
	long result = syscall(SYS_get_mempolicy, mode_pointer, mask, maxnode, address, flags);

	say_result(result);
	if (mode_pointer == &mode) {
		if (mode != UNTOUCHED)
			say_mode_or_node(mode, flags & 1, raw);
		else if (!result)
			say(" mode=untouched");
	}
	if (mask == mask_out)
		say_written(mask, MASK_BYTES, raw, result);
	else if (edge && !result)
		say_written(mask, EDGE_BYTES, raw, result);
}

static void op_set_home_node(void)
{
	struct span s = span_at(1);

	need(3);
	say_result(syscall(SYS_SET_HOME_NODE, s.start, s.length, number(word(2)), number(option("flags", "0"))));
}

const struct operation policy_operations[] = {
	{"set_mempolicy", op_set_mempolicy}, {"mbind", op_mbind}, {"get_mempolicy", op_get_mempolicy},
	{"set_home_node", op_set_home_node}, {NULL, NULL},
};
