/* Small files read and written whole, such as those of /proc and /sys; and files that have no name but in scenarios. */
#include "scn.h"
#include <fcntl.h>

#define MEMFDS 8

char big[1 << 18];

static struct {
	char name[32];
	int fd;
} memfds[MEMFDS];

int close_after(int fd)
{
	int error = errno;

	close(fd);
	errno = error;
	return 0;
}

int read_file(const char *path, char *text, size_t room)
{
	int fd = open(path, O_RDONLY);
	size_t length = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	while (length < room - 1 && (n = read(fd, text + length, room - 1 - length)) > 0)
		length += n;
	text[length] = 0;
	close_after(fd);
	return n < 0 && !length ? -1 : (int)length;
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	close_after(fd);
	return n < 0 ? -1 : 0;
}

int keep_memfd(const char *name, int fd)
{
	for (int i = 0; i < MEMFDS; i++)
		if (!memfds[i].name[0]) {
			snprintf(memfds[i].name, sizeof memfds[i].name, "%s", name);
			memfds[i].fd = fd;
			return 0;
		}
	return -1;
}

int open_file(const char *path, int flags)
{
	if (!strncmp(path, "memfd:", 6)) {
		for (int i = 0; i < MEMFDS; i++)
			if (memfds[i].name[0] && !strcmp(memfds[i].name, path + 6))
				return dup(memfds[i].fd);
		script_error("no-such-memfd:%.60s", path + 6);
	}
	return open(path, flags, 0666);
}
