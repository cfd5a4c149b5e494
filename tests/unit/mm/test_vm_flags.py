"""The numbers that C and Python both have are the same numbers."""

from __future__ import annotations

import re
from pathlib import Path

from numalab.mm import mpol, vm_flags
from numalab.mm.vm_flags import offset_in_page, page_align

PXD = Path(vm_flags.__file__).with_name("_mm_types.pxd").read_text()


def enumerated(prefix: str) -> dict[str, int]:
    found = re.findall(rf"^    ({prefix}\w+) = (0x[0-9a-f]+|\d+)\b", PXD, re.MULTILINE)
    return {name: int(value, 0) for name, value in found}


def test_vm_flags_are_those_of_the_kernels() -> None:
    assert enumerated("VM_")
    for name, value in enumerated("VM_").items():
        assert getattr(vm_flags, name) == value, name


def test_policies_are_those_of_the_kernels() -> None:
    modes = {name: value for name, value in enumerated("MPOL_").items() if "_F_" not in name}
    assert len(modes) == mpol.MPOL_MAX
    for name, value in modes.items():
        assert getattr(mpol, name) == value, name


def test_arithmetic_wraps_as_in_c() -> None:
    assert [page_align(n) for n in (0, 1, 4096, 4097)] == [0, 4096, 4096, 8192]
    assert page_align(2**64 - 1) == 0
    assert page_align(2**64 - 4096) == 2**64 - 4096
    assert offset_in_page(0x12345) == 0x345
