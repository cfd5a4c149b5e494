"""A pytest plugin for `make check-asan`: the arrays of mm come from the heap, with a red zone on either side.

Mappings have none: a kernel that runs over the end of one array reads the next, or zeros. RAM stays a mapping, and so
do the arrays of machines of terabytes: the heap does not promise what the host does not have.
"""

from typing import Any

import numpy as np

from numalab.arch import sparse

LARGEST = 1 << 30
as_mapping = sparse.sparse


def from_the_heap(count: int, dtype: Any, *, huge: bool = False) -> np.ndarray[Any, Any]:
    """`count` zeros, at least one."""
    if count * np.dtype(dtype).itemsize > LARGEST:
        return as_mapping(count, dtype, huge=huge)
    return np.zeros(max(1, count), dtype)


# Before anybody has imported it by name.
sparse.sparse = from_the_heap
