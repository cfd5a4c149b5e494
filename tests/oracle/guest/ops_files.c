/* Operations on files, mounts and cgroups. */
#include "scn.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

static const struct name MEMFD_FLAGS[] = { {"cloexec", 1}, {"allow_sealing", 2}, {"hugetlb", 4}, {NULL, 0} };
static const struct name FALLOCATE_FLAGS[] = {
	{"keep_size", 1}, {"punch_hole", 2}, {"collapse_range", 8}, {"zero_range", 16}, {"insert_range", 32},
	{"unshare_range", 64}, {NULL, 0},
};

/* Open the file that word 1 names; -1 when that failed, which is then said. */
static int open_word(int flags)
{
	int fd = open_file(word(1), flags);

	if (fd < 0)
		say_result(-1);
	return fd;
}

static void op_file(void)
{
	need(3);
	int fd = open_word(O_RDWR | O_CREAT);

	if (fd < 0)
		return;
	int result = ftruncate(fd, length_of(word(2))), error = errno;

	fchmod(fd, 0666);
	close(fd);
	errno = error;
	say_result(result);
}

static void op_memfd(void)
{
	need(2);
	int fd = memfd_create(word(1), (unsigned)flags_of(option("flags", "0"), MEMFD_FLAGS));

	if (fd < 0)
		say_result(-1);
	else if (keep_memfd(word(1), fd))
		script_error("too-many-memfds");
	else
		say_result(n_words > 2 ? ftruncate(fd, length_of(word(2))) : 0);
}

static void op_fallocate(void)
{
	need(4);
	int fd = open_word(O_RDWR);

	if (fd < 0)
		return;
	int mode = (int)flags_of(option("flags", "0"), FALLOCATE_FLAGS);
	int result = fallocate(fd, mode, length_of(word(2)), length_of(word(3)));

	close_after(fd);
	say_result(result);
}

/* Through the kernel's copying, not a mapping: "pread PATH OFF LEN", "pwrite PATH OFF LEN". */
static void transfer(int writing)
{
	need(4);
	int fd = open_word(O_RDWR);

	if (fd < 0)
		return;
	size_t length = length_of(word(3));
	off_t offset = length_of(word(2));

	if (length > sizeof big)
		script_error("too-long");
	if (writing)
		memset(big, 1, length);
	ssize_t n = writing ? pwrite(fd, big, length, offset) : pread(fd, big, length, offset);

	close_after(fd);
	say_result(n);
}

static void op_pread(void)
{
	transfer(0);
}

static void op_pwrite(void)
{
	transfer(1);
}

static void op_fsync(void)
{
	need(2);
	int fd = open_word(O_RDWR);

	if (fd < 0)
		return;
	int result = fsync(fd);

	close_after(fd);
	say_result(result);
}

static void op_unlink(void)
{
	need(2);
	say_result(unlink(word(1)));
}

static void op_write(void)
{
	char text[4096] = "";

	need(3);
	for (int i = 2; i < n_words; i++) {
		strcat(text, i > 2 ? " " : "");
		strcat(text, word(i));
	}
	say_result(write_file(word(1), text));
}

static void op_mkdir(void)
{
	need(2);
	say_result(mkdir(word(1), 0755));
}

static void op_rmdir(void)
{
	need(2);
	say_result(rmdir(word(1)));
}

static int by_name(const void *one, const void *two)
{
	return strcmp(*(char *const *)one, *(char *const *)two);
}

static void op_ls(void)
{
	static char *names[4096];
	const char *wanted = option("grep", "");
	struct dirent *entry;
	int n = 0;
	DIR *directory;

	need(2);
	directory = opendir(word(1));
	if (!directory) {
		say_result(-1);
		return;
	}
	while (n < 4096 && (entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && strstr(entry->d_name, wanted))
			names[n++] = strdup(entry->d_name);
	closedir(directory);
	qsort(names, n, sizeof *names, by_name);
	say("ret=0 names=");
	for (int i = 0; i < n; i++) {
		say("%s%s", i ? "," : "", names[i]);
		free(names[i]);
	}
}

static void op_mount_tmpfs(void)
{
	char policy[128] = "";

	need(2);
	if (option("mpol", NULL))
		snprintf(policy, sizeof policy, "mpol=%s", option("mpol", ""));
	mkdir(word(1), 0777);
	say_result(mount("t", word(1), "tmpfs", 0, n_words > 2 ? word(2) : policy));
}

static void op_umount(void)
{
	need(2);
	say_result(umount(word(1)));
}

static void op_cgjoin(void)
{
	char path[256], pid[32];

	need(2);
	snprintf(path, sizeof path, "%s/cgroup.procs", word(1));
	snprintf(pid, sizeof pid, "%d", getpid());
	say_result(write_file(path, pid));
}

const struct operation file_operations[] = {
	{"file", op_file}, {"memfd", op_memfd}, {"fallocate", op_fallocate}, {"pread", op_pread}, {"pwrite", op_pwrite},
	{"fsync", op_fsync}, {"unlink", op_unlink}, {"write", op_write}, {"mkdir", op_mkdir}, {"rmdir", op_rmdir},
	{"ls", op_ls}, {"mount_tmpfs", op_mount_tmpfs}, {"umount", op_umount}, {"cgjoin", op_cgjoin}, {NULL, NULL},
};
