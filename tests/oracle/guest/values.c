/* What words stand for in one process: its regions and ranges in them, node masks, and pids of other actors. */
#include "scn.h"
#include <sys/mman.h>

#define REGIONS 32
#define FIRST_PLACE 16UL
/* Pages between two regions: divisible by 1..16 and by 512, so that "page index modulo the number of nodes" is the
 * same as for a region at address 0. */
#define STEP 23063040UL

#define NOBODY 4190000 /* a pid that is never given out */

static struct region regions[REGIONS];
static unsigned long next_place = FIRST_PLACE;

unsigned char mask1[MASK_BYTES], mask2[MASK_BYTES], mask_out[MASK_BYTES];
char *edge_page, *read_only_page;

/* A page with nothing behind it, and one that cannot be written. The masks are touched once, so that no call of a
 * scenario has to bring them in. */
void map_special_pages(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	edge_page = mmap((void *)0x200000000, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
	edge_page[0] = 1;
	read_only_page = mmap((void *)0x300000000, PAGE, PROT_READ, flags, -1, 0);
	memset(mask1, 0, MASK_BYTES);
	memset(mask2, 0, MASK_BYTES);
	memset(mask_out, 0, MASK_BYTES);
}

struct region *find_region(const char *name, size_t length)
{
	for (struct region *r = regions; r < regions + REGIONS; r++)
		if (r->used && strlen(r->name) == length && !memcmp(r->name, name, length))
			return r;
	return NULL;
}

/* In the first free place; the 33rd finds none and cannot be named. */
void add_region(const char *name, unsigned long base, unsigned long length)
{
	for (struct region *r = regions; r < regions + REGIONS; r++)
		if (!r->used) {
			snprintf(r->name, sizeof r->name, "%s", name);
			r->base = base;
			r->length = length;
			r->used = 1;
			return;
		}
}

/* The place is used up even if nothing is mapped there. */
unsigned long next_base(void)
{
	return next_place++ * STEP * PAGE;
}

/* BASE[+PAGES][.BYTES][:LEN]; without LEN to the end of the region, or one page behind a special base. */
struct span span_of(const char *text)
{
	size_t n = strcspn(text, "+.:");
	char *rest = (char *)text + n;
	struct region *r = find_region(text, n);
	unsigned long base, offset = 0, length;

	if (r)
		base = r->base;
	else if (n == 4 && !memcmp(text, "null", 4))
		base = 0;
	else if (n == 3 && !memcmp(text, "bad", 3))
		base = BAD_POINTER;
	else if (n == 4 && !memcmp(text, "kern", 4))
		base = KERNEL_POINTER;
	else if (text[0] == '0' && text[1] == 'x')
		base = strtoul(text, NULL, 16);
	else
		script_error("no-such-region:%.*s", (int)n, text);
	if (*rest == '+')
		offset += strtoul(rest + 1, &rest, 0) * PAGE;
	if (*rest == '.')
		offset += strtoul(rest + 1, &rest, 0);
	if (*rest == ':')
		length = length_of(rest + 1);
	else if (r)
		length = r->length > offset ? r->length - offset : 0;
	else
		length = PAGE;
	return (struct span){ base + offset, length, r };
}

struct span span_at(int index)
{
	need(index + 1);
	return span_of(word(index));
}

unsigned long page_index(struct span span, unsigned long address)
{
	return (address - (span.region ? span.region->base : 0)) / PAGE;
}

/* Only where a number begins must lie before the end. */
void set_bits(const char *start, const char *end, unsigned char *bits, size_t size)
{
	memset(bits, 0, size);
	while (start < end) {
		char *after;
		unsigned long low = strtoul(start, &after, 0), high = low;

		if (after == start)
			return;
		if (*after == '-')
			high = strtoul(after + 1, &after, 0);
		for (unsigned long i = low; i <= high && i / 8 < size; i++)
			bits[i / 8] |= 1 << (i % 8);
		start = after + (*after == ',');
	}
}

static void set_words(const char *text, unsigned char *mask)
{
	memset(mask, 0, MASK_BYTES);
	for (int i = 0; *text; i++) {
		char *after;

		((unsigned long *)mask)[i] = strtoul(text, &after, 16);
		text = *after ? after + 1 : after;
	}
}

void *mask_of(const char *text, unsigned char *room)
{
	const char *last = text + strlen(text) - 1; /* a list ends before the last character, whatever that is */

	if (!strcmp(text, "null"))
		return NULL;
	if (!strcmp(text, "bad"))
		return (void *)BAD_POINTER;
	if (!strcmp(text, "kern"))
		return (void *)KERNEL_POINTER;
	if (!strcmp(text, "all"))
		memset(room, 0xff, MASK_BYTES);
	else if (!strncmp(text, "raw:", 4))
		set_words(text + 4, room);
	else if (!strncmp(text, "edge:{", 6))
		set_bits(text + 6, last, room = (unsigned char *)edge_page + PAGE - 8, 8);
	else if (text[0] == '{')
		set_bits(text + 1, last, room, MASK_BYTES);
	else
		script_error("bad-mask:%s", text);
	return room;
}

long target_of(const char *text)
{
	if (!strcmp(text, "self"))
		return 0;
	if (!strcmp(text, "me"))
		return getpid();
	if (!strcmp(text, "nopid"))
		return NOBODY;
	if (!strcmp(text, "init"))
		return 1;
	if (!strcmp(text, "kthread"))
		return 2;
	/* A name in use first, then one whose process has exited: its pid is asked for all the same. */
	for (int i = 0; i < ACTORS; i++)
		if (table->seat[i].used && !strcmp(table->seat[i].name, text))
			return table->seat[i].pid;
	for (int i = 0; i < ACTORS; i++)
		if (table->seat[i].pid && !strcmp(table->seat[i].name, text))
			return table->seat[i].pid;
	if (!strncmp(text, "pid:", 4))
		return (long)number(text + 4);
	script_error("no-such-target:%.60s", text);
}

void *bad_or(const char *what, void *good)
{
	if (!what)
		return good;
	if (!strcmp(what, "null"))
		return NULL;
	return strcmp(what, "ro") ? (void *)BAD_POINTER : read_only_page;
}
