"""/proc/sys: parameters of the running kernel.

Mirrors kernel/sysctl.c and the tables of mm; Documentation/admin-guide/sysctl.  A parameter is here if the machine
goes by it; it can be written if that takes effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from numalab.arch.boot_params import INT_MAX, PARAMETERS
from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs.drop_caches import drop_caches
from numalab.kernel.fs.inode import Directory, PseudoFile
from numalab.kernel.fs.sysfs_mm import kstrtoint
from numalab.kernel.state import Kernel
from numalab.kernel.ucount import MAX_THREADS
from numalab.mm.overcommit import OVERCOMMIT_RATIO
from numalab.mm.vm_flags import MMAP_MIN_ADDR
from numalab.mm.writeback import BACKGROUND_RATIO, DIRTY_RATIO
from numalab.mm.zones import LOWMEM_RESERVE_RATIO, WATERMARK_SCALE_FACTOR, setup_pagesets

__all__ = ["add_sysctl"]

_FRACTION = "percpu_pagelist_high_fraction"


def add_sysctl(k: Kernel, proc: Directory) -> None:
    """Fill /proc/sys."""
    boot = k.topology.boot
    # Set at boot, or built in: mm has no way to change them while it runs.
    fixed = {
        "vm/overcommit_memory": 0,
        "vm/overcommit_ratio": OVERCOMMIT_RATIO,
        "vm/dirty_background_ratio": BACKGROUND_RATIO,
        "vm/dirty_ratio": DIRTY_RATIO,
        "vm/mmap_min_addr": MMAP_MIN_ADDR,
        "vm/watermark_scale_factor": WATERMARK_SCALE_FACTOR,
        "vm/zone_reclaim_mode": 0,
        "vm/numa_zonelist_order": "Node",
        "vm/numa_stat": 1,
        "kernel/numa_balancing": int(boot["numa_balancing"]),
    }
    for name, value in fixed.items():
        proc.add(f"sys/{name}", _file(_fixed(value)))
    for name, attribute in (("swappiness", "swappiness"), ("page-cluster", "page_cluster")):
        proc.add(f"sys/vm/{name}", _number(k.mem, attribute, partial(_value, attribute)))
    proc.add(
        "sys/vm/oom_kill_allocating_task",
        _number(k, "oom_kill_allocating_task", lambda text: _int(text, -INT_MAX - 1, INT_MAX)),
    )
    proc.add("sys/vm/drop_caches", _file(None, lambda text: drop_caches(k, _int(text, 1, 4))))
    proc.add("sys/vm/max_map_count", _number(k.mem, "max_map_count", lambda text: _int(text, 0, INT_MAX)))
    proc.add("sys/kernel/threads-max", _number(k, "max_threads", lambda text: _int(text, 1, MAX_THREADS)))
    proc.add("sys/vm/lowmem_reserve_ratio", _file(lambda: "\t".join(map(str, (*LOWMEM_RESERVE_RATIO, 0)))))
    proc.add("sys/vm/min_free_kbytes", _file(lambda: str(int(k.mem.zones["watermark"][:, 0].sum()) * 4)))
    proc.add(
        f"sys/vm/{_FRACTION}",
        _file(lambda: str(k.mem.topology.boot[_FRACTION]), lambda text: _set_fraction(k, text)),
    )


def _fixed(value: object) -> Callable[[], str]:
    return lambda: str(value)


class _Sysctl(PseudoFile):
    overridable = False


def _file(show: Callable[[], str] | None, store: Callable[[str], None] | None = None) -> PseudoFile:
    """A parameter that is a word on a line; without `store` it can only be read, without `show` only be written."""
    mode = (0o444 if show else 0) | (0o200 if store else 0)
    return _Sysctl(
        mode,
        show and (lambda opening: show() + "\n"),
        store and (lambda opening, text: store(text)),
    )


def _number(owner: object, attribute: str, parse: Callable[[str], int]) -> PseudoFile:
    """A parameter that is a number and an attribute of ``owner``. Errors: those of ``parse``."""
    return _file(lambda: str(getattr(owner, attribute)), lambda text: setattr(owner, attribute, parse(text)))


def _int(text: str, low: int, high: int) -> int:
    """A number, with blanks around it if need be, unlike in sysfs. Errors: EINVAL."""
    return kstrtoint(text.strip(), low, high)


def _value(name: str, text: str) -> int:
    """proc_dointvec_minmax(): a number that the parameter may be. Errors: EINVAL."""
    value = _int(text, 0, INT_MAX)
    if not PARAMETERS[name].allows(value):
        raise KernelError(EINVAL, f"{name} must be {PARAMETERS[name].expected}")
    return value


def _set_fraction(k: Kernel, text: str) -> None:
    """How much of a zone the per-CPU page lists may hold: 0 = by the watermarks, else one part in so many.

    Errors: EINVAL (no number, negative, or 1..7).
    """
    boot = {**k.mem.topology.boot, _FRACTION: _value(_FRACTION, text)}
    k.mem.topology = replace(k.mem.topology, boot=boot)
    setup_pagesets(k.mem)
