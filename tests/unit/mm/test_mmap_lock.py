"""The lock of an address space: who waits for whom, and when files are let go."""

from collections.abc import Callable

import pytest

from numalab.mm._mm_types import AllocCtx
from numalab.mm.mmap_lock import MmapLock, mmap_write_lock
from numalab.mm.munmap import do_munmap

from tests.mm_machine import PAGE, MemFile, MmMachine

ME, OTHER = AllocCtx(0, 0, 1), AllocCtx(1, 0, 1)


class Turns:
    """Waits during which others do something, turn by turn, until the wait is over."""

    def __init__(self, *turns: Callable[[], object]) -> None:
        self.turns = list(turns)

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        while not done():
            self.turns.pop(0)()


def test_readers_share_and_keep_writers_out() -> None:
    lock = MmapLock()
    nobody = Turns()
    lock.down_read(nobody)
    lock.down_read(nobody)
    waits = Turns(lock.up_read, lock.up_read)
    lock.down_write(waits, ME)
    assert waits.turns == []
    assert lock.writer is ME


@pytest.mark.parametrize("wait", ["read", "fault", "write"])
def test_a_writer_keeps_others_out(wait: str) -> None:
    lock = MmapLock()
    lock.down_write(Turns(), ME)
    waits = Turns(lock.up_write)
    if wait == "read":
        lock.down_read(waits)
    elif wait == "fault":
        lock.wait_for_writer(waits, OTHER)
    else:
        lock.down_write(waits, OTHER)
    assert waits.turns == []
    assert (lock.readers, lock.writer) == (wait == "read", OTHER if wait == "write" else None)


def test_a_writer_has_it_already() -> None:
    lock = MmapLock()
    nobody = Turns()
    lock.down_write(nobody, ME)
    lock.down_write(nobody, ME)
    lock.wait_for_writer(nobody, ME)
    lock.up_write()
    assert lock.writer is ME
    lock.up_write()
    assert lock.writer is None


def test_files_are_let_go_after_the_lock() -> None:
    """Also when what held it fails."""
    with MmMachine("1x16M") as m:
        mm = m.new_mm()
        writers: list[AllocCtx | None] = []

        class Watched(MemFile):
            def fput(self, cpu: int) -> None:
                writers.append(mm.mmap_lock.writer)
                super().fput(cpu)

        file = Watched(m.mem)
        file.mapping.i_size = PAGE
        data = m.map_file(mm, file, 1, 0x10000, shared=True)

        def unmap_and_fail() -> None:
            with mmap_write_lock(mm, m.ctx):
                do_munmap(mm, m.ctx, data, PAGE)
                assert not writers
                raise LookupError

        with pytest.raises(LookupError):
            unmap_and_fail()
        assert writers == [None]
        file.close()
        assert m.check() == []
