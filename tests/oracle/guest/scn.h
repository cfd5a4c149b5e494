/*
 * What the parts of the recorder share.
 *
 * The recorder is one program in three roles: PID 1 of a guest (init.c), the controller of one scenario (controller.c),
 * and an actor, a process that carries out operations (actor.c). An operation is a function that reads its arguments
 * from the current line (line.c, values.c) and says its answer (answer.c); ops_*.c hold them, a family a file. The
 * language is described in ../README.md.
 */
#ifndef SCN_H
#define SCN_H

#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096UL
#define PROGRAM "/run/scn" /* where the guest keeps the recorder, so that it can be executed again */
#define SWAP_DEVICE "/dev/ram0"

/* --- operations -------------------------------------------------------------------------------------------------- */

struct operation {
	const char *name;
	void (*perform)(void);
};

/* One table a family; the last entry has no name. */
extern const struct operation mapping_operations[], access_operations[], policy_operations[], migration_operations[],
	look_operations[], identity_operations[], file_operations[], scarcity_operations[], control_operations[];

/* --- line.c: the tokens of the current line ------------------------------------------------------------------------ */

extern int n_words; /* positional tokens, the operation's name included */

int split_line(char *text);                                     /* returns n_words */
const char *word(int index);                                    /* there may be fewer: see need() */
void need(int count);                                           /* at least so many words, or the line is wrong */
const char *option(const char *key, const char *otherwise);     /* the value of the first key=value */
_Noreturn void script_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void carry_out(const char *message, size_t length);             /* perform a line; its answer is then said */

/* --- numbers.c: numbers, names, lists ------------------------------------------------------------------------------- */

struct name {
	const char *text;
	unsigned long value;
};

extern const struct name MODES[], MBIND_FLAGS[], GET_MEMPOLICY_FLAGS[], ADVICE[];

unsigned long number(const char *text);
unsigned long length_of(const char *text);                      /* N pages, Nb bytes, NK, NM, max */
unsigned long flags_of(const char *text, const struct name *names);
unsigned long words_in(const char *text, const struct name *names); /* the flags whose names occur in the text */
int protection_of(const char *text);

/* --- values.c: regions, ranges, masks, targets ------------------------------------------------------------------------ */

#define BAD_POINTER 0x100000000UL          /* a user address that nobody ever maps */
#define KERNEL_POINTER 0xffff888000000000UL /* an address in the kernel's half */
#define MASK_BYTES 16384                   /* room for a node mask: far more bits than any kernel reads */

struct region {
	char name[32];
	unsigned long base, length;
	int used;
};

struct span {
	unsigned long start, length;
	struct region *region;                  /* NULL for a special base */
};

extern unsigned char mask1[MASK_BYTES], mask2[MASK_BYTES], mask_out[MASK_BYTES];
extern char *edge_page, *read_only_page;

void map_special_pages(void);
struct region *find_region(const char *name, size_t length);
void add_region(const char *name, unsigned long base, unsigned long length);
unsigned long next_base(void);                                  /* where the next mapping goes */
struct span span_at(int index);                                 /* the RANGE that a word names */
struct span span_of(const char *text);
unsigned long page_index(struct span span, unsigned long address); /* counted from the start of its region */
void set_bits(const char *start, const char *end, unsigned char *bits, size_t size); /* "0,2-3" */
void *mask_of(const char *text, unsigned char *room);
long target_of(const char *text);                               /* a pid */
void *bad_or(const char *what, void *good);                     /* null, ro, anything else: bad; NULL what: good */

/* --- answer.c: the text behind "=>" ------------------------------------------------------------------------------------ */

#define ANSWER_ROOM 60000
#define UNWRITTEN 0x7ffffff1 /* a status that the kernel has not written */

extern char answer[ANSWER_ROOM];
extern size_t answer_length;

void answer_clear(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_result(long result);                                   /* ret=N, or the name of errno */
void say_mask(const unsigned char *mask, size_t bytes);
void say_mode(int mode);
const char *error_name(int error);
void list_start(void);                                          /* a run-length coded list: 0*4,1 */
void list_add(const char *item);
void list_add_status(int status);
void list_end(void);

/* --- files.c ------------------------------------------------------------------------------------------------------------ */

extern char big[1 << 18];

int read_file(const char *path, char *text, size_t room);       /* its length, or -1 */
int write_file(const char *path, const char *text);             /* 0 or -1 */
int open_file(const char *path, int flags);                     /* also memfd:NAME */
int keep_memfd(const char *name, int fd);                       /* 0, or -1: no room */
int close_after(int fd);                                        /* close, errno kept; 0 */

/* --- used by other families ---------------------------------------------------------------------------------------------- */

long sys_mbind(unsigned long start, unsigned long length, unsigned long mode, const void *mask, unsigned long maxnode,
	unsigned long flags); /* ops_policy.c */
void map_arrays(void);                                          /* ops_migration.c */
void catch_bad_accesses(void);                                  /* ops_access.c */

/* --- the three roles -------------------------------------------------------------------------------------------------------- */

#define ACTORS 16
#define COUNTERS 16
#define TABLE_FD 99
#define CONTROL_FD(seat) (100 + (seat)) /* the controller's end of an actor's socket, and the actor's */
#define ACTOR_FD(seat) (200 + (seat))

/* What all actors of a scenario share. */
struct table {
	struct {
		int used, pid;
		char name[32];
	} seat[ACTORS];
	unsigned long counter_base[COUNTERS]; /* at "vmstat mark" */
};

extern struct table *table;
extern int my_seat;

void run_on_cpu_0(void);
void serve(void) __attribute__((noreturn));                     /* an actor's loop */
void start_actor(int seat, int executed) __attribute__((noreturn));
int run_scenario(const char *path);
void start_guest(void) __attribute__((noreturn));
void reset_machine(void);                                       /* between two scenarios */
struct table *map_table(void);

#endif
