"""What C and Python both know is the same: the layout of structs, and the constants that stand on both sides."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from numalab.mm import (
    _buddy_reference,
    _constants,
    _fault_reference,
    _migrate_entry_reference,
    _migrate_reference,
    _mm_types,
    mmzone,
)
from numalab.mm.kernels import Why
from numalab.mm.migrate.ledger import Phase, Reason

MM = Path(__file__).parents[3] / "mm"


# --- structs -----------------------------------------------------------------------------------------------------


def test_structs_have_the_same_size() -> None:
    assert {name: dtype.itemsize for name, dtype in mmzone.DTYPES.items()} == _mm_types.struct_sizes()


@pytest.mark.parametrize("name", mmzone.DTYPES)
def test_structs_have_the_same_fields(name: str) -> None:
    """Bytes that are all different, read as C reads them and as numpy does."""
    dtype = mmzone.DTYPES[name]
    data = np.arange(dtype.itemsize, dtype=np.uint32).astype(np.uint8) ^ 0xA5
    there = _mm_types.read_struct(name, data)
    here = data.view(dtype)[0]
    assert dtype.names is not None
    assert {field: _plain(here[field]) for field in dtype.names} == there


def _plain(value: Any) -> Any:
    """A number, a list of them, or of a struct in the struct its fields."""
    names = value.dtype.names
    return {name: value[name].tolist() for name in names} if names else value.tolist()


def test_a_struct_needs_all_its_bytes() -> None:
    with pytest.raises(ValueError, match="too few"):
        _mm_types.read_struct("page", bytes(31))
    with pytest.raises(KeyError):
        _mm_types.read_struct("folio", bytes(64))


# --- constants -----------------------------------------------------------------------------------------------------


def enumerators(file: str) -> Iterator[tuple[str, int]]:
    """(name, value) of every C enumerator of a Cython file, as the C compiler counts them."""
    text = (MM / file).read_text(encoding="utf-8")
    for block in re.findall(r"^c(?:p)?def enum:\n((?:(?:    .*)?\n)+)", text, re.MULTILINE):
        value = -1
        for line in re.sub(r"#.*", "", block).split("\n"):
            if line.strip():
                name, _, expression = line.partition("=")
                value = int(eval(expression, {})) if expression else value + 1
                yield name.strip(), value


#: Where a kernel has its constants, and where its twin has them.
BOTH = (
    ("_mm_types.pxd", _constants),
    ("_page_alloc.pyx", _buddy_reference),
    ("_memory.pyx", _fault_reference),
    ("_migrate.pyx", _migrate_reference),
    ("_migrate_entry.pxd", _migrate_entry_reference),
)


@pytest.mark.parametrize(("file", "module"), BOTH, ids=lambda value: getattr(value, "__name__", value))
def test_constants_are_the_same(file: str, module: ModuleType) -> None:
    there = dict(enumerators(file))
    here = {name: value for name, value in vars(module).items() if name in there}
    assert here
    assert here == {name: there[name] for name in here}


def test_every_constant_of_the_twins_is_one_of_the_kernels() -> None:
    there = dict(itertools.chain(enumerators("_mm_types.pxd"), enumerators("_page_alloc.pyx")))
    ours = {
        name
        for name, value in vars(_constants).items()
        if isinstance(value, int) and not name.startswith("__")
    }
    assert ours <= there.keys()


@pytest.mark.parametrize(
    ("prefix", "file", "enum"),
    [("WHY_", "_mm_types.pxd", Why), ("REASON_", "_migrate.pxd", Reason), ("PHASE_", "_migrate.pxd", Phase)],
)
def test_python_enums_are_the_c_enums(prefix: str, file: str, enum: type[Why | Reason | Phase]) -> None:
    there = {name.removeprefix(prefix): value for name, value in enumerators(file) if name.startswith(prefix)}
    assert there == {member.name: member.value for member in enum}


def test_counters_are_named_in_the_order_of_c() -> None:
    there = dict(enumerators("_mm_types.pxd"))
    assert len(mmzone.NODE_STATS) == there["NR_NODE_STATS"]
    assert len(mmzone.VM_EVENTS) == there["NR_VM_EVENTS"]
    for name in ("NR_UNEVICTABLE", "NR_ISOLATED_FILE", "NR_WRITEBACK", "NR_MLOCK", "NUMA_HIT", "NUMA_OTHER"):
        assert mmzone.NODE_STATS[there[name]] == name.lower()
    for name in ("PGALLOC", "PGMIGRATE_SUCCESS", "PSWPIN", "PGSTEAL_DIRECT", "PGREUSE"):
        assert mmzone.VM_EVENTS[there[name]] == name.lower()
