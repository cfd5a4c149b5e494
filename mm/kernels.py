"""The kernels of one machine: compiled, or their plain-Python twins.

Every hot loop exists twice under one name: in ``_x.pyx`` (Cython, without the GIL) and in
``_x_reference.py`` (plain Python, the text to read and the oracle of the property tests). Both work
on the same bytes, so a machine may run on either; drivers reach them through ``mem.k``.
"""

from __future__ import annotations

import enum
import importlib
from dataclasses import dataclass, fields
from types import ModuleType

__all__ = ["Kernels", "Why"]


class Why(enum.IntEnum):
    """Why a kernel stopped (the ``WHY_*`` of ``_mm_types.pxd``)."""

    DONE = 0
    NEED_RECLAIM = 1
    WAIT_LOCK = 2
    WAIT_WRITEBACK = 3
    WAIT_IO = 4
    NO_TARGET = 5
    BUDGET = 6
    MIGRATION_ENTRY = 7
    FILE = 8
    STRICT = 9
    WAIT_PAGE = 10


@dataclass(frozen=True)
class Kernels:
    """One module per family of kernels; drivers say ``mem.k.memory.fault_range(...)``."""

    pagetable: ModuleType
    mmu: ModuleType
    page_alloc: ModuleType
    lru: ModuleType
    filemap: ModuleType
    filemap_rw: ModuleType
    readahead: ModuleType
    writeback: ModuleType
    memory: ModuleType
    gup: ModuleType
    huge_memory: ModuleType
    khugepaged: ModuleType
    hugetlb: ModuleType
    task_mmu: ModuleType
    rmap: ModuleType
    migrate: ModuleType
    madvise: ModuleType
    memory_hotplug: ModuleType
    swap: ModuleType
    shmem: ModuleType
    vmscan: ModuleType
    steps: ModuleType

    @classmethod
    def load(cls, twins: bool = False) -> Kernels:
        """The compiled kernels, or with ``twins`` the plain-Python ones."""
        suffix = "_reference" if twins else ""

        def module(name: str) -> ModuleType:
            floor = "arch" if name in ("pagetable", "mmu") else "mm"
            return importlib.import_module(f"numalab.{floor}._{name}{suffix}")

        return cls(**{f.name: module(f.name) for f in fields(cls)})
