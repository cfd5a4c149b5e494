"""Weights of weighted interleaving, as sysfs sets and shows them."""

from __future__ import annotations

import pytest

from numalab.arch.errno import EINVAL, KernelError
from numalab.mm.weights import get_il_weight, set_il_weight

from tests.mm_machine import MmMachine


def test_weights() -> None:
    with MmMachine("2x8M") as m:
        assert [get_il_weight(m.mem, nid) for nid in (0, 1)] == [1, 1]
        set_il_weight(m.mem, 0, 3)
        assert [get_il_weight(m.mem, nid) for nid in (0, 1)] == [3, 1]
        set_il_weight(m.mem, 0, 0)
        assert get_il_weight(m.mem, 0) == 1
        for weight in (256, -1):
            with pytest.raises(KernelError) as refusal:
                set_il_weight(m.mem, 0, weight)
            assert refusal.value.errno == EINVAL
