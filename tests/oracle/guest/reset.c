/* What is put back between two scenarios, so that their order does not matter. */
#include "scn.h"
#include <dirent.h>
#include <sys/mount.h>
#include <sys/swap.h>

static const char *const settings[][2] = {
	{"/proc/sys/vm/drop_caches", "3"},
	{"/sys/kernel/mm/transparent_hugepage/enabled", "never"},
	{"/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never"},
	{"/proc/sys/vm/page-cluster", "0"}, /* no swap readahead */
	{"/proc/sys/kernel/numa_balancing", "0"},
	{"/proc/sys/vm/swappiness", "60"},
	{"/proc/sys/vm/zone_reclaim_mode", "0"},
	{"/proc/sys/vm/nr_hugepages", "0"},
	{"/proc/sys/vm/nr_overcommit_hugepages", "0"},
	{"/proc/sys/vm/overcommit_memory", "0"},
	{"/proc/sys/vm/max_map_count", "65530"},
	{"/sys/kernel/mm/ksm/run", "0"},
	{"/sys/kernel/mm/numa/demotion_enabled", "0"},
};

static void remove_cgroups(void)
{
	DIR *root = opendir("/sys/fs/cgroup");
	struct dirent *entry;
	char path[512];

	while (root && (entry = readdir(root)))
		if (entry->d_name[0] == 't' && entry->d_type == DT_DIR) {
			snprintf(path, sizeof path, "/sys/fs/cgroup/%s", entry->d_name);
			rmdir(path);
		}
	if (root)
		closedir(root);
}

static void empty_tmp(void)
{
	DIR *tmp = opendir("/tmp");
	struct dirent *entry;
	char path[512];

	while (tmp && (entry = readdir(tmp)))
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof path, "/tmp/%s", entry->d_name);
			umount(path);
			unlink(path);
			rmdir(path);
		}
	if (tmp)
		closedir(tmp);
}

void reset_machine(void)
{
	char path[128];

	swapoff(SWAP_DEVICE);
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		write_file(settings[i][0], settings[i][1]);
	for (int node = 0; node < 8; node++) {
		snprintf(path, sizeof path, "/sys/kernel/mm/mempolicy/weighted_interleave/node%d", node);
		write_file(path, "0");
	}
	remove_cgroups();
	empty_tmp();
	swapon(SWAP_DEVICE, 0);
}
