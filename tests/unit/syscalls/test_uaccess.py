"""User pointers: node masks as get_nodes() reads them, arrays that end where memory does, strings."""

import errno
import struct

import numpy as np
import pytest

from numalab import abi
from numalab.arch.errno import EFAULT, EINVAL, ENAMETOOLONG, KernelError
from numalab.kernel.machine import Machine
from numalab.syscalls import uaccess
from numalab.syscalls.sys import Sys

PAGE = 4096
EDGE = 0x2_0000_0000  # a page with nothing behind it
WORD_AT_EDGE = EDGE + PAGE - 8
BAD = 0x1_0000_0000
KERNEL = 0xFFFF_8880_0000_0000
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
ULONG_MAX = (1 << 64) - 1


def outcome(sys: Sys, addr: int, maxnode: int) -> int:
    """The mask that get_nodes() reads, or -errno."""
    try:
        return uaccess.get_nodes(sys.task, addr, maxnode)
    except KernelError as error:
        return -error.errno


def prepare(sys: Sys, mask: int = 0) -> int:
    """A mask of five pages in memory, and the page at the edge; returns the mask's address."""
    addr = sys.mmap(5 * PAGE)
    sys.memory.write(addr, mask.to_bytes(4097, "little"))
    sys.mmap(PAGE, flags=FIXED, addr=EDGE)
    return addr


def test_the_mask_has_one_bit_less_than_maxnode(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = prepare(sys, (1 << 2000) - 1)
        assert outcome(sys, addr, 1) == 0
        assert outcome(sys, addr, 2) == 1
        assert outcome(sys, addr, 64) == (1 << 63) - 1
        assert outcome(sys, addr, 65) == (1 << 64) - 1
        assert outcome(sys, addr, 1025) == (1 << 1024) - 1

    assert machine.run(main) == 0


def test_a_null_pointer_and_no_bits_are_the_empty_mask(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        prepare(sys)
        assert outcome(sys, 0, 0) == outcome(sys, 0, 40_000) == outcome(sys, 0, ULONG_MAX) == 0
        assert outcome(sys, BAD, 1) == outcome(sys, KERNEL, 1) == 0
        assert outcome(sys, BAD, 0) == -EINVAL, "maxnode 0 wraps around"
        assert outcome(sys, BAD, 2) == outcome(sys, KERNEL, 2) == -EFAULT

    assert machine.run(main) == 0


@pytest.mark.parametrize(("maxnode", "result"), [(32769, 1), (32770, -EINVAL), (ULONG_MAX, -EINVAL)])
def test_a_page_of_bits_is_the_most(machine: Machine, maxnode: int, result: int) -> None:
    def main(sys: Sys) -> None:
        assert outcome(sys, prepare(sys, 1), maxnode) == result
        assert outcome(sys, BAD, maxnode) == (-EFAULT if result == 1 else -EINVAL)

    assert machine.run(main) == 0


def test_bits_beyond_1024_must_be_zero_even_those_that_maxnode_leaves_out(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = prepare(sys, 1 | 1 << 1087)
        assert outcome(sys, addr, 1025) == 1
        assert outcome(sys, addr, 1026) == -EINVAL, "its word is looked at as a whole"
        assert outcome(sys, addr, 1090) == -EINVAL
        assert outcome(sys, prepare(sys, 1 | 1 << 32767), 32769) == -EINVAL
        assert outcome(sys, prepare(sys, 1 | 1 << 32767), 32705) == 1

    assert machine.run(main) == 0


def test_only_the_words_that_are_needed_are_read(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        prepare(sys)
        sys.memory.write(WORD_AT_EDGE, (5).to_bytes(8, "little"))
        assert outcome(sys, WORD_AT_EDGE, 64) == outcome(sys, WORD_AT_EDGE, 65) == 5
        assert outcome(sys, WORD_AT_EDGE, 66) == outcome(sys, WORD_AT_EDGE, 129) == -EFAULT

    assert machine.run(main) == 0


def test_words_beyond_1024_are_read_from_the_last_one_down(machine: Machine) -> None:
    """A bit in word 17 is found before the end of memory below it would be."""

    def main(sys: Sys) -> None:
        addr = sys.mmap(2 * PAGE)
        start = addr + PAGE - 17 * 8
        sys.memory.write(addr + PAGE, b"\1")
        sys.munmap(addr, PAGE)
        assert outcome(sys, start, 17 * 64 + 2) == -EINVAL
        sys.memory.write(addr + PAGE, b"\0")
        assert outcome(sys, start, 17 * 64 + 2) == -EFAULT

    assert machine.run(main) == 0


@pytest.mark.parametrize(
    ("maxnode", "stored"),
    [
        (4, 8),
        (64, 8),
        (65, 8),
        (66, 16),
        (1023, 128),
        (1025, 128),
        (2048, 256),
        (32768, 4096),
        (ULONG_MAX, 0),
    ],
)
def test_masks_are_stored_in_whole_words_with_zeros_behind(
    machine: Machine, maxnode: int, stored: int
) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(3 * PAGE)
        sys.memory.write(addr, b"\xff" * 2 * PAGE)
        uaccess.copy_nodes_to_user(sys.task, addr, maxnode, 0b1010 | 1 << 40, 4)
        expected = (0b1010 | 1 << 40).to_bytes(stored, "little") if stored else b""
        assert sys.memory.read(addr, 2 * PAGE) == expected.ljust(2 * PAGE, b"\xff")

    assert machine.run(main) == 0


def test_storing_a_mask_fails_for_more_than_a_page_and_where_nothing_is(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = prepare(sys)
        with pytest.raises(KernelError) as caught:
            uaccess.copy_nodes_to_user(sys.task, addr, 100_000, 1, 4)
        assert caught.value.errno == errno.EINVAL
        sys.memory.write(WORD_AT_EDGE, b"\xff" * 8)
        with pytest.raises(KernelError) as caught:
            uaccess.copy_nodes_to_user(sys.task, WORD_AT_EDGE, 128, 1, 4)
        assert caught.value.errno == errno.EFAULT
        assert sys.memory.read(WORD_AT_EDGE, 8) == b"\xff" * 8, "the zeros behind it go first"

    assert machine.run(main) == 0


def test_what_was_copied_before_a_bad_address_is_there(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        prepare(sys)
        with pytest.raises(KernelError):
            uaccess.copy_to_user(sys.task, EDGE + PAGE - 4, b"abcdefgh")
        assert sys.memory.read(EDGE + PAGE - 4, 4) == b"abcd"

    assert machine.run(main) == 0


@pytest.mark.parametrize("addr", [KERNEL, 2**47 - PAGE, 2**47, 2**64 - 4, 2**64 - 1])
def test_addresses_that_no_program_has(machine: Machine, addr: int) -> None:
    def main(sys: Sys) -> None:
        assert not uaccess.access_ok(sys.task, addr, 8)
        with pytest.raises(KernelError):
            uaccess.copy_from_user(sys.task, addr, 8)
        with pytest.raises(KernelError):
            uaccess.copy_to_user(sys.task, addr, bytes(8))

    assert machine.run(main) == 0


def test_strings_end_at_their_nul_even_before_the_end_of_memory(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        prepare(sys)
        sys.memory.write(WORD_AT_EDGE, b"/proc/a\0")
        assert uaccess.getname(sys.task, WORD_AT_EDGE, 4096) == "/proc/a"
        sys.memory.write(WORD_AT_EDGE, b"/proc/ab")
        with pytest.raises(KernelError) as caught:
            uaccess.getname(sys.task, WORD_AT_EDGE, 4096)
        assert caught.value.errno == errno.EFAULT
        long = sys.mmap(3 * PAGE)
        sys.memory.write(long + 100, b"x" * 4095)
        assert len(uaccess.getname(sys.task, long + 100, 4096)) == 4095
        sys.memory.write(long + 100, b"x" * 4096)
        with pytest.raises(KernelError) as caught:
            uaccess.getname(sys.task, long + 100, 4096)
        assert caught.value.errno == ENAMETOOLONG

    assert machine.run(main) == 0


def test_arrays_of_move_pages_end_where_memory_does(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        prepare(sys)
        sys.memory.write(EDGE + PAGE - 20, struct.pack("<2Q", 0x1000, 0x2000))
        arrays = uaccess.UserPages(sys.task, EDGE + PAGE - 20, EDGE + PAGE - 6, EDGE + PAGE - 10)
        assert list(arrays.read_pages(0, 1000)) == [0x1000, 0x2000]
        assert list(arrays.read_pages(1, 1000)) == [0x2000]
        assert len(arrays.read_pages(2, 1000)) == 0
        assert len(arrays.read_nodes(0, 5)) == 1
        assert arrays.write_status(0, np.array([7, 8, 9], np.int32)) == 2
        assert sys.memory.read(EDGE + PAGE - 10, 8) == struct.pack("<2i", 7, 8)
        beyond = uaccess.UserPages(sys.task, KERNEL, 2**64 - 4, 0)
        assert len(beyond.read_pages(0, 9)) == len(beyond.read_nodes(0, 9)) == 0
        assert beyond.write_status(0, np.zeros(3, np.int32)) == 0
        wrapping = uaccess.UserPages(sys.task, 0, 0, 2**64 - 4)
        assert wrapping.write_status(1, np.zeros(3, np.int32)) == 0

    assert machine.run(main) == 0
