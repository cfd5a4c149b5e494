"""What programs name to swapon() and swapoff() that no swap area is: the errno of Linux, and nothing has happened."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest

import numalab
from numalab import Machine, Sys, abi

from tests.attack.mutations import mutated
from tests.unit.kernel.test_files import errno_of

PAGE = 4096
PAGES = 8
#: What mkswap(8) writes: version, last page, bad pages; and its magic word at the end of the first page.
HEADER = bytes(1024) + struct.pack("<3I", 1, PAGES - 1, 0)
IMAGE = (HEADER.ljust(PAGE - 10, b"\0") + b"SWAPSPACE2").ljust(PAGES * PAGE, b"\0")


@pytest.fixture
def machine() -> Iterator[Machine]:
    with numalab.boot("2x4M", seed=1) as m:
        yield m
        m.check_invariants()


def swaps(sys: Sys) -> tuple[str, bytes]:
    """What is swapped to, and whether memory in swap is what it was."""
    at = sys.mmap(PAGE)
    sys.memory.write(at, b"kept" * 1024)
    sys.madvise(at, PAGE, abi.MADV_PAGEOUT)
    listed = sys.read_file("/proc/swaps")
    return listed, sys.memory.read(at, PAGE)


PLACES = {
    "/tmp": ("EISDIR", "EISDIR"),
    "/mnt": ("EISDIR", "EISDIR"),
    "/dev": ("EISDIR", "EISDIR"),
    "/sys/devices/system/node": ("EISDIR", "EISDIR"),
    "/proc/self/maps": ("EINVAL", "EINVAL"),
    "/proc/vmstat": ("EINVAL", "EINVAL"),
    "/dev/vda": ("EBUSY", "EINVAL"),
    "/dev/vda/": ("ENOTDIR", "ENOTDIR"),
    "/dev/vda/1": ("ENOTDIR", "ENOTDIR"),
    "/dev/sdz": ("ENOENT", "ENOENT"),
    "": ("ENOENT", "ENOENT"),
    "/" + "x" * 5000: ("ENAMETOOLONG", "ENAMETOOLONG"),
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:30])
def test_what_cannot_be_opened_or_is_no_block_device(machine: Machine, place: str) -> None:
    def main(sys: Sys) -> None:
        before = swaps(sys)
        assert (errno_of(lambda: sys.swapon(place, 0)), errno_of(lambda: sys.swapoff(place))) == PLACES[place]
        sys.setresuid(1000, 1000, 1000)
        assert errno_of(lambda: sys.swapon(place, 1 << 20)) == "EINVAL"
        assert errno_of(lambda: sys.swapon(place, 0)) == errno_of(lambda: sys.swapoff(place)) == "EPERM"
        assert swaps(sys) == before

    assert machine.run(main) == 0


def test_a_swap_file_of_any_kind(machine: Machine) -> None:
    """No file can be swapped to, whatever its header and its size are; it stays as it is."""
    rng = random.Random(7)

    def main(sys: Sys) -> None:
        before = swaps(sys)
        for n in range(60):
            body = mutated(rng, IMAGE) if n else IMAGE
            body = body[: rng.choice((0, 1, PAGE - 1, PAGE, 3 * PAGE, len(body)))][: 4 * PAGES * PAGE]
            name = rng.choice(("/tmp/swap", "/mnt/swap"))
            fd = sys.open(name, abi.O_RDWR | abi.O_CREAT, rng.choice((0, 0o600, 0o444)))
            for at in range(0, len(body), PAGE):
                sys.pwrite64(fd, body[at : at + PAGE], pos=at)
            sys.ftruncate(fd, size := rng.choice((len(body), 1 << 20, 100)))
            assert errno_of(lambda name=name: sys.swapon(name, 0)) == "EINVAL"  # type: ignore[misc]
            assert errno_of(lambda name=name: sys.swapoff(name)) == "EINVAL"  # type: ignore[misc]
            sys.ftruncate(fd, min(size, 2 * PAGE))
            assert errno_of(lambda name=name: sys.swapon(name, 0x8000 | 0x7FFF)) == "EINVAL"  # type: ignore[misc]
            wanted = body[:size].ljust(size, b"\0")[: 2 * PAGE]
            assert sys.pread64(fd, 2 * PAGE, 0).buf == wanted
            sys.unlink(name)
            assert errno_of(lambda name=name: sys.swapon(name, 0)) == "ENOENT"  # type: ignore[misc]
            sys.close(fd)
        assert swaps(sys) == before

    assert machine.run(main) == 0


def test_names_that_cannot_be_read_and_flags_that_are_none(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        before = swaps(sys)
        for flags in (1 << 20, 1 << 31):
            assert errno_of(lambda flags=flags: sys.swapon(0, flags)) == "EINVAL"  # type: ignore[misc]
        for pointer in (0, 8, 1 << 46, 1 << 63):
            assert errno_of(lambda pointer=pointer: sys.swapon(pointer, 0)) == "EFAULT"  # type: ignore[misc]
            assert errno_of(lambda pointer=pointer: sys.swapoff(pointer)) == "EFAULT"  # type: ignore[misc]
        assert errno_of(lambda: sys.swapon("/dev/ram0", 0)) == "EBUSY"
        assert swaps(sys) == before

    assert machine.run(main) == 0
