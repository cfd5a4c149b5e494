"""A pytest plugin for `make check-asan`: the arrays of mm come from the heap, with a red zone on either side.

Mappings have none: a kernel that runs over the end of one array reads the next, or zeros. The heap's large blocks are
as sparse as mappings are, so machines of a terabyte still boot. RAM stays a mapping.
"""

from typing import Any

import numpy as np

from numalab.arch import sparse


def from_the_heap(count: int, dtype: Any, *, huge: bool = False) -> np.ndarray[Any, Any]:
    """`count` zeros, at least one."""
    return np.zeros(max(1, count), dtype)


# Before anybody has imported it by name.
sparse.sparse = from_the_heap
