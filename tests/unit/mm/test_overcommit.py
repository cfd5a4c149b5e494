"""Overcommit mode 0: one request may be for all there is, RAM and swap, and not for more."""

from __future__ import annotations

import pytest

from numalab.arch.errno import ENOMEM, KernelError
from numalab.mm.overcommit import accountable_mapping, vm_enough_memory
from numalab.mm.vm_flags import VM_NORESERVE, VM_READ, VM_SHARED, VM_WRITE

from tests.mm_machine import PAGE, MmMachine


def test_all_there_is() -> None:
    with MmMachine("2x8M") as m:
        total = int(m.mem.zones["managed"].sum()) + m.mem.topology.boot["swap"] // PAGE
        vm_enough_memory(m.mem, total)
        with pytest.raises(KernelError) as refusal:
            vm_enough_memory(m.mem, total + 1)
        assert refusal.value.errno == ENOMEM


def test_what_counts() -> None:
    assert accountable_mapping(VM_READ | VM_WRITE)
    for flags in (VM_READ, VM_WRITE | VM_SHARED, VM_WRITE | VM_NORESERVE):
        assert not accountable_mapping(flags)
