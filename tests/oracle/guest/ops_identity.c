/* Operations on what a process is and may: CPUs, users, capabilities, limits. */
#include "scn.h"
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define CPU_BYTES 128

static const struct name CAPABILITIES[] = {
	{"ipc_lock", 14}, {"sys_ptrace", 19}, {"sys_admin", 21}, {"sys_nice", 23}, {"sys_resource", 24}, {NULL, 0},
};

void run_on_cpu_0(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof cpus, &cpus);
}

static int cpus_of_node(const char *node, unsigned char *cpus)
{
	char path[96], list[256];

	snprintf(path, sizeof path, "/sys/devices/system/node/node%s/cpulist", node);
	if (read_file(path, list, sizeof list) < 0)
		return -1;
	set_bits(list, list + strcspn(list, "\n"), cpus, CPU_BYTES);
	return 0;
}

static long affinity_target(void)
{
	const char *of = option("of", NULL);

	return of ? target_of(of) : 0;
}

static void op_setaffinity(void)
{
	unsigned char cpus[CPU_BYTES] = { 0 };
	const char *cpu = option("cpu", NULL), *node = option("node", NULL), *list = option("cpus", NULL);

	if (cpu) {
		unsigned long n = number(cpu);

		if (n < CPU_BYTES * 8)
			cpus[n / 8] |= 1 << (n % 8);
	} else if (node) {
		if (cpus_of_node(node, cpus)) {
			say_result(-1);
			return;
		}
	} else {
		const char *all = list ? list : "{0-63}";

		set_bits(all + 1, all + strlen(all) - 1, cpus, CPU_BYTES);
	}
	say_result(sched_setaffinity(affinity_target(), CPU_BYTES, (cpu_set_t *)cpus));
}

static void op_getaffinity(void)
{
	unsigned char cpus[CPU_BYTES] = { 0 };
	int result = sched_getaffinity(affinity_target(), CPU_BYTES, (cpu_set_t *)cpus);

	say_result(result);
	if (!result) {
		say(" cpus=");
		say_mask(cpus, CPU_BYTES);
	}
}

static void op_getcpu(void)
{
	unsigned cpu, node = 0;

	say_result(syscall(SYS_getcpu, &cpu, &node, NULL));
	say(" node=%u", node);
}

static void op_setuid(void)
{
	need(2);
	uid_t user = number(word(1));

	say_result(setresuid(user, user, user));
}

static void op_seteuid(void)
{
	need(2);
	say_result(setresuid(-1, number(word(1)), -1));
}

static void op_dumpable(void)
{
	need(2);
	say_result(prctl(PR_SET_DUMPABLE, number(word(1)), 0, 0, 0));
}

/* Effective and permitted; any word that is no capability gives up all of them. */
static void op_drop_cap(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	const struct name *c = CAPABILITIES;

	need(2);
	syscall(SYS_capget, &header, data);
	while (c->text && strcmp(c->text, word(1)))
		c++;
	if (c->text) {
		data[0].effective &= ~(1u << c->value);
		data[0].permitted &= ~(1u << c->value);
	} else
		memset(data, 0, sizeof data);
	say_result(syscall(SYS_capset, &header, data));
}

static void op_rlimit_memlock(void)
{
	need(2);
	unsigned long length = length_of(word(1));
	struct rlimit limit = { length, length };

	say_result(setrlimit(RLIMIT_MEMLOCK, &limit));
}

const struct operation identity_operations[] = {
	{"setaffinity", op_setaffinity}, {"getaffinity", op_getaffinity}, {"getcpu", op_getcpu}, {"setuid", op_setuid},
	{"seteuid", op_seteuid}, {"dumpable", op_dumpable}, {"drop_cap", op_drop_cap},
	{"rlimit_memlock", op_rlimit_memlock}, {NULL, NULL},
};
