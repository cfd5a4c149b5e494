"""mincore: what is mapped is there, what was never touched is not."""

from __future__ import annotations

import pytest

from numalab.arch.errno import EINVAL, ENOMEM, KernelError
from numalab.mm.memory import touch_user
from numalab.mm.mincore import do_mincore

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000


def test_mincore() -> None:
    with MmMachine("1x8M") as m:
        mm = m.new_mm()
        m.map(mm, 4, AT)
        m.map(mm, 4, AT + 4 * PAGE, prot=1)
        touch_user(mm, m.ctx, AT + PAGE, PAGE, 2, True)
        touch_user(mm, m.ctx, AT + 5 * PAGE, PAGE, 1, False)  # the zero page counts
        assert do_mincore(mm, AT, 8 * PAGE) == bytes([0, 1, 1, 0, 0, 1, 0, 0])
        assert do_mincore(mm, AT + PAGE, 1) == b"\1"
        assert do_mincore(mm, AT, 0) == b""
        for start, length, errno in (
            (AT + 1, 0, EINVAL),
            (AT, 9 * PAGE, ENOMEM),
            (AT - PAGE, PAGE, ENOMEM),
            (1 << 47, PAGE, ENOMEM),
            (AT, 1 << 63, ENOMEM),
        ):
            with pytest.raises(KernelError) as refusal:
                do_mincore(mm, start, length)
            assert refusal.value.errno == errno
