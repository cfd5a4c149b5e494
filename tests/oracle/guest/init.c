/* PID 1 of the guest: mounts, swap on a RAM disk, every scenario that /scn/LIST names, power off. */
#include "scn.h"
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define SWAP_BYTES (64UL << 20)
#define SWAP_DISK_PARAMETERS "rd_nr=1 rd_size=65536 max_part=0"

static const struct {
	const char *source, *target, *type, *options;
	mode_t mode;
} mounts[] = {
	{"p", "/proc", "proc", NULL, 0755},
	{"s", "/sys", "sysfs", NULL, 0755},
	{"d", "/dev", "devtmpfs", NULL, 0755},
	{"r", "/run", "tmpfs", NULL, 0755},
	{"t", "/tmp", "tmpfs", "mode=777", 0777},
	{"c", "/sys/fs/cgroup", "cgroup2", NULL, 0755},
};

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
		mkdir(mounts[i].target, mounts[i].mode);
		mount(mounts[i].source, mounts[i].target, mounts[i].type, 0, mounts[i].options);
	}
}

static void answer_on_second_serial_line(void)
{
	int fd = open("/dev/ttyS1", O_WRONLY);

	if (fd >= 0) {
		dup2(fd, 1);
		dup2(fd, 2);
		close(fd);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static void load_module(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, parameters, 0))
		printf("# %s: %s\n", path, error_name(errno));
	close(fd);
}

/* The disk is filled beforehand, so that swapping out never has to allocate in it. */
static void make_swap(void)
{
	static char block[1 << 20];
	int fd = open(SWAP_DEVICE, O_RDWR);

	if (fd < 0) {
		printf("# no %s\n", SWAP_DEVICE);
		return;
	}
	for (size_t i = 0; i < SWAP_BYTES; i += sizeof block)
		if (write(fd, block, sizeof block) < 0)
			printf("# %s: %s\n", SWAP_DEVICE, error_name(errno));
	uint32_t *header = (uint32_t *)(block + 1024);

	header[0] = 1;                     /* version */
	header[1] = SWAP_BYTES / PAGE - 1; /* last page */
	memcpy(block + PAGE - 10, "SWAPSPACE2", 10);
	if (pwrite(fd, block, PAGE, 0) < 0)
		printf("# %s: %s\n", SWAP_DEVICE, error_name(errno));
	fsync(fd);
	close(fd);
}

/* To a file system whose pages can be moved like those of any program. */
static void copy_program(void)
{
	int from = open("/init", O_RDONLY), to = open(PROGRAM, O_WRONLY | O_CREAT, 0755);
	ssize_t n;

	while ((n = read(from, big, sizeof big)) > 0)
		if (write(to, big, n) < 0)
			break;
	close(from);
	close(to);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void run_one(const char *name)
{
	char path[256];
	int status = 0;
	double start = now();

	snprintf(path, sizeof path, "/scn/%s.scn", name);
	printf("@@BEGIN %s\n", name);
	fflush(stdout);
	pid_t pid = fork();

	if (!pid) {
		execl(PROGRAM, "scn", "run", path, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	printf("@@END %s status=%d ms=%.0f\n", name, WEXITSTATUS(status), (now() - start) * 1e3);
	fflush(stdout);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

void start_guest(void)
{
	char name[128];

	mount_all();
	answer_on_second_serial_line();
	read_file("/proc/sys/kernel/osrelease", big, sizeof big);
	printf("@@KERNEL %s", big);
	run_on_cpu_0();
	/* Small free lists of the CPUs, so that "node full" means full. */
	write_file("/proc/sys/vm/percpu_pagelist_high_fraction", "1000");
	load_module("/mod/brd.ko", SWAP_DISK_PARAMETERS);
	make_swap();
	copy_program();
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset +memory");
	reset_machine();
	FILE *list = fopen("/scn/LIST", "r");

	while (list && fgets(name, sizeof name, list)) {
		name[strcspn(name, "\n")] = 0;
		run_one(name);
		reset_machine();
	}
	printf("@@DONE\n");
	fflush(stdout);
	sync();
	usleep(50000); /* the serial line empties */
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
