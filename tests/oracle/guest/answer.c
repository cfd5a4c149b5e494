/* The text behind "=>": a buffer of fixed size, and how errors, masks, modes and lists are written into it. */
#include "scn.h"
#include <stdarg.h>

char answer[ANSWER_ROOM];
size_t answer_length;

void answer_clear(void)
{
	answer_length = 0;
	answer[0] = 0;
}

void say(const char *format, ...)
{
	va_list arguments;

	if (answer_length >= ANSWER_ROOM - 1)
		return;
	va_start(arguments, format);
	int n = vsnprintf(answer + answer_length, ANSWER_ROOM - answer_length, format, arguments);
	va_end(arguments);
	if (n > 0)
		answer_length += n;
	if (answer_length > ANSWER_ROOM - 1)
		answer_length = ANSWER_ROOM - 1;
}

const char *error_name(int error)
{
	static char other[24];

	switch (error) {
#define NAME(error) case error: return #error;
	NAME(EPERM) NAME(ENOENT) NAME(ESRCH) NAME(EINTR) NAME(EIO) NAME(ENXIO) NAME(E2BIG) NAME(EBADF) NAME(ECHILD)
	NAME(EAGAIN) NAME(ENOMEM) NAME(EACCES) NAME(EFAULT) NAME(EBUSY) NAME(EEXIST) NAME(EXDEV) NAME(ENODEV)
	NAME(ENOTDIR) NAME(EISDIR) NAME(EINVAL) NAME(ENFILE) NAME(EMFILE) NAME(EFBIG) NAME(ENOSPC) NAME(EROFS)
	NAME(ERANGE) NAME(ENOSYS) NAME(EOVERFLOW) NAME(EOPNOTSUPP) NAME(ELOOP) NAME(EUCLEAN) NAME(ENOTEMPTY) NAME(EDOM)
#undef NAME
	}
	snprintf(other, sizeof other, "E%d", error);
	return other;
}

void say_result(long result)
{
	int error = errno;

	if (result == -1)
		say("ret=-1 err=%s", error_name(error));
	else
		say("ret=%ld", result);
}

static int bit(const unsigned char *mask, size_t n)
{
	return mask[n / 8] >> (n % 8) & 1;
}

void say_mask(const unsigned char *mask, size_t bytes)
{
	const char *comma = "";

	say("{");
	for (size_t first = 0; first < bytes * 8; first++) {
		size_t last = first;

		if (!bit(mask, first))
			continue;
		while (last + 1 < bytes * 8 && bit(mask, last + 1))
			last++;
		if (last > first)
			say("%s%zu-%zu", comma, first, last);
		else
			say("%s%zu", comma, first);
		comma = ",";
		first = last;
	}
	say("}");
}

void say_mode(int mode)
{
	int base = mode & 0x1fff;

	if (base <= 6)
		say("%s", MODES[base].text);
	else
		say("%d", base);
	for (const struct name *flag = MODES + 7; flag->text; flag++)
		if (mode & flag->value)
			say("|%s", flag->text);
}

/* The run that the list ends with for now. */
static char last_item[32];
static unsigned times;
static const char *separator;

static void end_run(void)
{
	if (times) {
		say("%s%s", separator, last_item);
		separator = ",";
	}
	if (times > 1)
		say("*%u", times);
}

void list_start(void)
{
	times = 0;
	separator = "";
}

void list_add(const char *item)
{
	if (times && !strcmp(item, last_item)) {
		times++;
		return;
	}
	end_run();
	snprintf(last_item, sizeof last_item, "%s", item);
	times = 1;
}

void list_add_status(int status)
{
	char text[32];

	if (status == UNWRITTEN)
		strcpy(text, "?");
	else if (status < 0)
		snprintf(text, sizeof text, "-%s", error_name(-status));
	else
		snprintf(text, sizeof text, "%d", status);
	list_add(text);
}

void list_end(void)
{
	if (!times)
		say("none");
	end_run();
}
