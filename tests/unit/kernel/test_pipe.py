"""Pipes: bytes through them, pages in them, and what becomes of both when an end is closed."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from functools import partial

import pytest

import numalab
from numalab import Sys, abi
from numalab.kernel.machine import Machine

from tests.unit.kernel.test_files import errno_of

PAGE = 4096
NONBLOCK = 2


@pytest.fixture
def machine() -> Iterator[Machine]:
    with numalab.boot("2x16M") as m:
        yield m
        m.check_invariants()
        assert not +m.mem.held


def splice(sys: Sys, fd: int, addr: int, length: int, flags: int = NONBLOCK) -> int:
    at = sys.mmap(PAGE)
    sys.memory.write(at, struct.pack("<QQ", addr, length))
    return int(sys.vmsplice(fd, at, 1, flags))


def test_bytes_go_through_in_order_and_end_with_the_last_writer(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        out, into = sys.pipe().fds

        def child(sys: Sys) -> None:
            sys.close(out)
            sys.write(into, b"one")
            sys.write(into, b"two")

        sys.fork(child)
        sys.close(into)
        assert sys.read(out, 2).buf == b"on"
        got = b""
        while piece := sys.read(out, 100).buf:
            got += piece
        assert got == b"etwo"

    assert machine.run(main) == 0


def test_what_cannot_be_stored_stays_in_the_pipe(machine: Machine) -> None:
    """What came in one write goes whole or not at all."""

    def main(sys: Sys) -> None:
        out, into = sys.pipe().fds
        for piece in (b"one", b"two", b"three"):
            sys.write(into, piece)
        assert sys.raw(0, out, 0x10, 100) == -errno.EFAULT
        end = sys.mmap(PAGE) + PAGE
        assert sys.raw(0, out, end - 7, 100) == 6
        assert sys.memory.read(end - 7, 6) == b"onetwo"
        assert sys.raw(0, out, end - 4, 100) == -errno.EFAULT
        assert sys.raw(0, out, end - 4, 2) == 2
        assert sys.memory.read(end - 4, 2) == b"th"
        assert sys.read(out, 100).buf == b"ree"

    assert machine.run(main) == 0


def test_writing_where_nobody_reads_is_sigpipe(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        out, into = sys.pipe().fds
        sys.close(out)
        sys.write(into, b"x")

    assert machine.run(main) == -13


def test_a_spliced_page_cannot_move_until_it_is_read(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        out, into = sys.pipe().fds
        data = sys.mmap(3 * PAGE)
        sys.memory.write(data, b"x" * 3 * PAGE)
        assert splice(sys, into, data, 2 * PAGE) == 2 * PAGE
        machine.check_invariants()
        assert sys.migrate_pages(0, {0}, {1}) == 2
        assert sys.read(out, PAGE).buf == b"x" * PAGE
        assert sys.migrate_pages(0, {0}, {1}) == 1
        assert sys.move_pages(0, [data, data + PAGE], None).status == [1, 0]

    assert machine.run(main) == 0


def test_a_full_pipe_takes_no_more(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        _, into = sys.pipe().fds
        data = sys.mmap(20 * PAGE)
        sys.memory.touch(data, 20)
        assert splice(sys, into, data, 20 * PAGE) == 16 * PAGE
        assert errno_of(lambda: splice(sys, into, data, PAGE)) == "EAGAIN"

    assert machine.run(main) == 0


def test_errors(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        out, into = sys.pipe().fds
        assert errno_of(lambda: splice(sys, into, 1 << 47, PAGE)) == "EFAULT"
        assert errno_of(lambda: splice(sys, into, PAGE, PAGE)) == "EFAULT"
        assert errno_of(lambda: splice(sys, 77, PAGE, PAGE)) == "EBADF"
        assert errno_of(lambda: splice(sys, into, PAGE, PAGE, 0x10)) == "EINVAL"
        assert errno_of(partial(sys.lseek, out, 0, 0)) == "ESPIPE"
        assert errno_of(partial(sys.write, out, b"x")) == "EBADF"
        assert errno_of(partial(sys.read, into, 1)) == "EBADF"
        proc = sys.open("/proc/vmstat", abi.O_RDONLY, 0)
        assert errno_of(lambda: splice(sys, proc, PAGE, PAGE)) == "EBADF"
        assert errno.ESPIPE == 29

    assert machine.run(main) == 0
