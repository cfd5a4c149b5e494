"""/proc/{vmstat,swaps,uptime,stat,cpuinfo}: what is about the whole machine.

Mirrors mm/vmstat.c, fs/proc/uptime.c, fs/proc/stat.c and arch/x86/kernel/cpu/proc.c; files with much to say have a
module of their own. The CPUs are of no make: what would describe one is 0 or empty; and nobody counts interrupts,
context switches and forks, nor how the CPUs spend their time.
"""

from __future__ import annotations

from numalab.kernel.fs.block import swaps
from numalab.kernel.fs.inode import Directory, text_file
from numalab.kernel.fs.proc_meminfo import meminfo
from numalab.kernel.fs.proc_zones import add_proc_zones
from numalab.kernel.fs.seq import lines
from numalab.kernel.state import Kernel
from numalab.kernel.task import State
from numalab.mm.vmstat import vmstat

__all__ = ["add_proc_system"]

_NR_SOFTIRQS = 10
_PHYSICAL_BITS = 46
_FLAGS = "fpu de pse pae pge pat nx lm pku ospke"


def add_proc_system(k: Kernel, proc: Directory) -> None:
    """Fill /proc with the files that are about no process."""
    proc.add("vmstat", text_file(lambda: lines(*(f"{name} {n}" for name, n in vmstat(k.mem).items()))))
    proc.add("meminfo", text_file(lambda: meminfo(k)))
    add_proc_zones(k, proc)
    proc.add("swaps", text_file(lambda: swaps(k.mem)))
    proc.add("uptime", text_file(lambda: f"{k.hw.now / 1e9:.2f} 0.00\n"))
    proc.add("stat", text_file(lambda: _stat(k)))
    proc.add("cpuinfo", text_file(lambda: "".join(_cpuinfo(k, cpu) for cpu in range(k.topology.nr_cpus))))


def _stat(k: Kernel) -> str:
    """stat: programs that read it count the CPUs by its lines."""
    running = sum(task.state is State.RUNNING and not task.kthread for task in k.pids)
    blocked = sum(task.state is State.UNINTERRUPTIBLE for task in k.pids)
    times = " 0" * 10
    return lines(
        f"cpu {times}",
        *(f"cpu{cpu}{times}" for cpu in range(k.topology.nr_cpus)),
        "intr 0",
        "ctxt 0",
        "btime 0",
        "processes 0",
        f"procs_running {running}",
        f"procs_blocked {blocked}",
        "softirq 0" + " 0" * _NR_SOFTIRQS,
    )


def _cpuinfo(k: Kernel, cpu: int) -> str:
    """One CPU. There is one package, as on the machines that answers were recorded from."""
    rows = {
        "processor\t": cpu, "vendor_id\t": "numalab", "cpu family\t": 0, "model\t\t": 0, "model name\t": "numalab",
        "stepping\t": 0, "microcode\t": "0x0", "cpu MHz\t\t": "0.000", "cache size\t": "0 KB", "physical id\t": 0,
        "siblings\t": k.topology.nr_cpus, "core id\t\t": cpu, "cpu cores\t": k.topology.nr_cpus, "apicid\t\t": cpu,
        "initial apicid\t": cpu, "fpu\t\t": "yes", "fpu_exception\t": "yes", "cpuid level\t": 0, "wp\t\t": "yes",
        "flags\t\t": _FLAGS, "bugs\t\t": "", "bogomips\t": "0.00", "TLB size\t": "0 4K pages", "clflush size\t": 64,
        "cache_alignment\t": 64,
        "address sizes\t": f"{_PHYSICAL_BITS} bits physical, {9 * k.hw.levels + 12} bits virtual",
        "power management": "",
    }  # fmt: skip
    return lines(*(f"{label}: {value}" if value != "" else f"{label}:" for label, value in rows.items()), "")
