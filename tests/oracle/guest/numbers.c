/* Numbers, lengths, and words that stand for numbers. What an odd one means is what the C library makes of it. */
#include "scn.h"
#include <sys/mman.h>

/* The first seven in the order of their numbers, then the flags in the order in which they are printed. */
const struct name MODES[] = {
	{"default", 0}, {"preferred", 1}, {"bind", 2}, {"interleave", 3}, {"local", 4}, {"preferred_many", 5},
	{"weighted_interleave", 6}, {"static", 1 << 15}, {"relative", 1 << 14}, {"balancing", 1 << 13}, {NULL, 0},
};
const struct name MBIND_FLAGS[] = {
	{"STRICT", 1}, {"MOVE", 2}, {"MOVE_ALL", 4}, {"LAZY", 8}, {"INTERNAL", 16}, {NULL, 0},
};
const struct name GET_MEMPOLICY_FLAGS[] = { {"NODE", 1}, {"ADDR", 2}, {"MEMS_ALLOWED", 4}, {NULL, 0} };
const struct name ADVICE[] = {
	{"normal", 0}, {"random", 1}, {"sequential", 2}, {"willneed", 3}, {"dontneed", 4}, {"free", 8}, {"remove", 9},
	{"dontfork", 10}, {"dofork", 11}, {"mergeable", 12}, {"unmergeable", 13}, {"hugepage", 14}, {"nohugepage", 15},
	{"dontdump", 16}, {"dodump", 17}, {"wipeonfork", 18}, {"keeponfork", 19}, {"cold", 20}, {"pageout", 21},
	{"populate_read", 22}, {"populate_write", 23}, {"dontneed_locked", 24}, {"collapse", 25}, {"hwpoison", 100},
	{"soft_offline", 101}, {"guard_install", 102}, {"guard_remove", 103}, {NULL, 0},
};

unsigned long number(const char *text)
{
	if (!strcmp(text, "max"))
		return ~0UL;
	if (!strcmp(text, "intmax"))
		return 0x7fffffff;
	return text[0] == '-' ? (unsigned long)strtol(text, NULL, 0) : strtoul(text, NULL, 0);
}

unsigned long length_of(const char *text)
{
	char *end;

	if (!strcmp(text, "max"))
		return ~0UL;
	unsigned long value = strtoul(text, &end, 0);
	switch (*end) {
	case 'b': return value;
	case 'K': return value << 10;
	case 'M': return value << 20;
	default: return value * PAGE;
	}
}

/* Names or numbers joined with |. A word that is neither counts as the number it begins with: 0. */
unsigned long flags_of(const char *text, const struct name *names)
{
	char copy[256], *rest;
	unsigned long flags = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (char *w = strtok_r(copy, "|", &rest); w; w = strtok_r(NULL, "|", &rest)) {
		const struct name *n = names;

		while (n->text && strcmp(n->text, w))
			n++;
		flags |= n->text ? n->value : number(w);
	}
	return flags;
}

unsigned long words_in(const char *text, const struct name *names)
{
	unsigned long flags = 0;

	for (; names->text; names++)
		if (strstr(text, names->text))
			flags |= names->value;
	return flags;
}

int protection_of(const char *text)
{
	return (strchr(text, 'r') ? PROT_READ : 0) | (strchr(text, 'w') ? PROT_WRITE : 0) |
		(strchr(text, 'x') ? PROT_EXEC : 0);
}
