/* One line: its tokens, the operation that its first word names, and what is said of a line outside the language. */
#include "scn.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>

#define MOST 63 /* tokens of a kind */

int n_words;
static char *words[MOST + 1];
static struct {
	char *key, *value;
} options[MOST + 1];
static int n_options;

static jmp_buf wrong_line;
static char why[128];

static const struct operation *const FAMILIES[] = {
	mapping_operations, access_operations, policy_operations, migration_operations, look_operations,
	identity_operations, file_operations, scarcity_operations, control_operations,
};

int split_line(char *text)
{
	char *rest;

	n_words = n_options = 0;
	for (char *w = strtok_r(text, " \t\n", &rest); w && n_words < MOST && n_options < MOST;
	     w = strtok_r(NULL, " \t\n", &rest)) {
		char *equals = strchr(w, '=');

		if (equals && equals > w && isalpha((unsigned char)*w)) {
			*equals = 0;
			options[n_options].key = w;
			options[n_options++].value = equals + 1;
		} else
			words[n_words++] = w;
	}
	return n_words;
}

const char *word(int index)
{
	return words[index];
}

const char *option(const char *key, const char *otherwise)
{
	for (int i = 0; i < n_options; i++)
		if (!strcmp(options[i].key, key))
			return options[i].value;
	return otherwise;
}

void script_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof why, format, arguments);
	va_end(arguments);
	longjmp(wrong_line, 1);
}

void need(int count)
{
	if (n_words < count)
		script_error("missing-args");
}

static void perform(const char *name)
{
	for (size_t family = 0; family < sizeof FAMILIES / sizeof *FAMILIES; family++)
		for (const struct operation *op = FAMILIES[family]; op->name; op++)
			if (!strcmp(op->name, name)) {
				op->perform();
				return;
			}
	script_error("unknown-op:%.60s", name);
}

void carry_out(const char *message, size_t length)
{
	static char line[8192];

	memcpy(line, message, length);
	line[length] = 0;
	answer_clear();
	if (!split_line(line))
		return;
	if (setjmp(wrong_line)) {
		answer_clear(); /* what was said before the mistake was found */
		say("script-error=%s", why);
		return;
	}
	perform(words[0]);
}
