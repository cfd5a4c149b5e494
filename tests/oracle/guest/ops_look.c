/* Operations that look at the kernel's own account: pagemap, mincore, maps, numa_maps, smaps, vmstat, cat. */
#include "scn.h"
#include <fcntl.h>
#include <sys/mman.h>

#define PRESENT (1ULL << 63)
#define SWAPPED (1ULL << 62)
#define FILE_OR_SHARED (1ULL << 61)
#define FRAME_BITS 55
#define FRAME ((1ULL << FRAME_BITS) - 1)
#define MOST_FRAMES 4096
#define DEFAULT_COUNTERS 5

/* Those that can be asked for, in the order in which they are said; by default the first five. */
static const char *const counters[] = {
	"pgmigrate_success", "pgmigrate_fail", "numa_pages_migrated", "pswpin", "pswpout", "pgmajfault",
	"thp_migration_success", "thp_migration_split", "thp_migration_fail", "thp_fault_alloc", "thp_fault_fallback",
	"thp_collapse_alloc", "thp_collapse_alloc_failed", "thp_split_page", "thp_split_pmd",
	"unevictable_pgs_mlocked", "unevictable_pgs_munlocked", "swap_ra", "pglazyfree", "pglazyfreed",
	NULL,
};

static uint64_t pagemap_entry(int fd, unsigned long address)
{
	uint64_t entry;

	return pread(fd, &entry, 8, address / PAGE * 8) == 8 ? entry : 0;
}

static const char *state_of(uint64_t entry)
{
	if (entry & PRESENT)
		return entry & FILE_OR_SHARED ? "F" : "P";
	return entry & SWAPPED ? "S" : ".";
}

static void op_state(void)
{
	struct span s = span_at(1);
	int fd = open("/proc/self/pagemap", O_RDONLY), raw = option("raw", NULL) != NULL;
	char bits[8];

	if (fd < 0) {
		say_result(-1);
		return;
	}
	say("ret=0 state=");
	list_start();
	for (unsigned long a = s.start; a < s.start + s.length; a += PAGE) {
		uint64_t entry = pagemap_entry(fd, a);

		snprintf(bits, sizeof bits, "%llx", (unsigned long long)entry >> FRAME_BITS);
		list_add(raw ? bits : state_of(entry));
	}
	list_end();
	close(fd);
}

/* One set of frames a process, whatever the range. */
static void op_samepfn(void)
{
	static uint64_t frames[MOST_FRAMES];
	struct span s = span_at(1);
	int fd = open("/proc/self/pagemap", O_RDONLY), n = 0, same = 0;

	for (unsigned long a = s.start; a < s.start + s.length && n < MOST_FRAMES; a += PAGE, n++) {
		uint64_t frame = pagemap_entry(fd, a) & FRAME;

		if (n_words > 2)
			frames[n] = frame;
		else
			same += frame && frame == frames[n];
	}
	close(fd);
	say("ret=0");
	if (n_words <= 2)
		say(" same=%d of=%d", same, n);
}

static void op_mincore(void)
{
	static unsigned char in[65536];
	struct span s = span_at(1);
	int result = mincore((void *)s.start, s.length, in);

	say_result(result);
	if (result)
		return;
	say(" in=");
	list_start();
	for (unsigned long i = 0; i < (s.length + PAGE - 1) / PAGE; i++)
		list_add(in[i] & 1 ? "1" : "0");
	list_end();
}

/* The words of a numa_maps line, without those that depend on what else the machine does. */
static void say_policy(char *text)
{
	char *rest;

	for (char *w = strtok_r(text, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
		if (strncmp(w, "active=", 7) && strncmp(w, "writeback=", 10))
			say(" %s", w);
}

/* maps says where a VMA ends; numa_maps does not, so there it counts with its first byte. */
static void vmas(const char *path, int is_maps)
{
	struct span s = span_at(1);
	unsigned long base = s.region ? s.region->base : s.start;
	const char *separator = "";
	char *rest, *after;

	read_file(path, big, sizeof big);
	say("ret=0 [");
	for (char *line = strtok_r(big, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		unsigned long start = strtoul(line, &after, 16), end = start + 1;

		if (is_maps)
			end = strtoul(after + 1, &after, 16);
		if (end <= s.start || start >= s.start + s.length)
			continue;
		say("%s+%ld", separator, (long)(start - base) / (long)PAGE);
		separator = "; ";
		if (is_maps)
			say(":%lu %.4s", (end - start) / PAGE, after + 1);
		else
			say_policy(after);
	}
	say("]");
}

static void op_maps(void)
{
	vmas("/proc/self/maps", 1);
}

static void op_numa_maps(void)
{
	vmas("/proc/self/numa_maps", 0);
}

/* A line of smaps: what is not 0, and not how long the area is, or pages are if they are the usual ones. */
static void say_smaps_line(char *line)
{
	char *colon = strchr(line, ':'), *rest;
	unsigned long value = strtoul(colon + 1, NULL, 10);
	const char *separator = "=";

	*colon = 0;
	if (!strcmp(line, "VmFlags")) {
		say(" %s", line);
		for (char *w = strtok_r(colon + 1, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
			say("%s%s", separator, w);
			separator = ",";
		}
	} else if (value && strcmp(line, "Size") && !(strstr(line, "PageSize") && value == PAGE / 1024)) {
		say(" %s=%lu", line, value);
	}
}

static void op_smaps(void)
{
	struct span s = span_at(1);
	unsigned long base = s.region ? s.region->base : s.start, start, end;
	const char *separator = "";
	int inside = 0;
	char *rest;

	read_file("/proc/self/smaps", big, sizeof big);
	say("ret=0 [");
	for (char *line = strtok_r(big, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			inside = end > s.start && start < s.start + s.length;
			if (inside)
				say("%s+%ld:%lu", separator, (long)(start - base) / (long)PAGE, (end - start) / PAGE);
			separator = inside ? "; " : separator;
		} else if (inside) {
			say_smaps_line(line);
		}
	}
	say("]");
}

static unsigned long counter_in(const char *text, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length) && line[length] == ' ')
			return strtoul(line + length + 1, NULL, 10);
	}
	return 0;
}

static int asked_for(int counter)
{
	if (n_words == 1)
		return counter < DEFAULT_COUNTERS;
	for (int i = 1; i < n_words; i++)
		if (!strcmp(word(i), counters[counter]))
			return 1;
	return 0;
}

static void op_vmstat(void)
{
	int mark = n_words > 1 && !strcmp(word(1), "mark");

	read_file("/proc/vmstat", big, sizeof big);
	say("ret=0");
	for (int i = 0; counters[i]; i++) {
		unsigned long value = counter_in(big, counters[i]);

		if (mark)
			table->counter_base[i] = value;
		else if (asked_for(i))
			say(" %s=%ld", counters[i], (long)(value - table->counter_base[i]));
	}
}

static void op_cat(void)
{
	const char *wanted = option("grep", NULL), *separator = "";
	char *rest;

	need(2);
	if (read_file(word(1), big, sizeof big) < 0) {
		say_result(-1);
		return;
	}
	say("ret=0 text=");
	for (char *line = strtok_r(big, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (!wanted || strstr(line, wanted)) {
			say("%s%s", separator, line);
			separator = "|";
		}
}

const struct operation look_operations[] = {
	{"state", op_state}, {"samepfn", op_samepfn}, {"mincore", op_mincore}, {"maps", op_maps},
	{"numa_maps", op_numa_maps}, {"smaps", op_smaps}, {"vmstat", op_vmstat}, {"cat", op_cat}, {NULL, NULL},
};
