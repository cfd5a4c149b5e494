"""Sparse host memory: addresses that cost nothing until they are written, and hold zeros until then.

RAM, what describes it, and what lies on disks in memory are such mappings (MAP_NORESERVE): a machine of a terabyte
boots at once and starts with next to nothing resident.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np

__all__ = ["sparse", "sparse_mapping"]

MAP_NORESERVE = 0x4000  # has no name in Python 3.11


def sparse_mapping(size: int, *, huge: bool = False) -> mmap.mmap:
    """`size` bytes of zeros.

    huge: ask the host for huge pages, where a random access would else miss its TLB, and a first touch cost more.
    Raises MemoryError, which names the host's setting, if it is refused.
    """
    try:
        mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    except (OSError, ValueError, OverflowError) as error:
        raise MemoryError(
            f"the host refuses to map {size >> 20} MiB of sparse memory ({error}): "
            "set the sysctl vm.overcommit_memory to 0 or 1 and check `ulimit -v`, or boot a smaller machine"
        ) from None
    if huge and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a host kernel without them: slower, nothing else
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return mapping


def sparse(count: int, dtype: Any, *, huge: bool = False) -> np.ndarray[Any, Any]:
    """`count` zeros, at least one. Raises MemoryError."""
    dtype, count = np.dtype(dtype), max(1, count)
    return np.frombuffer(sparse_mapping(count * dtype.itemsize, huge=huge), dtype, count)
