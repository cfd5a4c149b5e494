"""vm.drop_caches: what goes, and what stays."""

import pytest

import numalab
from numalab import abi
from numalab.mm.vmstat import vmstat
from numalab.syscalls.sys import Sys

PAGE = 4096
PAGES = 40


def cached(sys: Sys, addr: int) -> list[int]:
    return [i for i, there in enumerate(sys.mincore(addr, PAGES * PAGE).vec) if there]


def drop(sys: Sys, what: str) -> None:
    fd = sys.open("/proc/sys/vm/drop_caches", abi.O_WRONLY)
    sys.write(fd, what.encode())
    sys.close(fd)


@pytest.mark.parametrize("twins", [False, True])
def test_only_clean_pages_of_disks_that_nobody_uses_go(twins: bool) -> None:
    text = bytes(range(256)) * (PAGE // 256) * PAGES

    def view(sys: Sys, path: str, *, new: bool = False) -> int:
        fd = sys.open(path, abi.O_RDWR | abi.O_CREAT)
        if new:
            sys.write(fd, text)
        return sys.mmap(PAGES * PAGE, flags=abi.MAP_SHARED, fd=fd)

    def main(sys: Sys) -> None:
        everything = list(range(PAGES))
        on_disk, in_memory = view(sys, "/mnt/f", new=True), view(sys, "/tmp/f", new=True)
        drop(sys, "1")
        assert cached(sys, on_disk) == everything, "they are dirty"
        sys.sync()
        drop(sys, "2")
        assert cached(sys, on_disk) == everything, "they are no slabs"
        sys.memory.write(on_disk + 7 * PAGE, text[:PAGE])
        drop(sys, "3\n")
        assert 7 in cached(sys, on_disk), "somebody maps it"
        sys.munmap(on_disk, PAGES * PAGE)
        on_disk = view(sys, "/mnt/f")
        drop(sys, "1")
        assert cached(sys, on_disk) == [7], "it is dirty"
        sys.sync()
        free = vmstat(machine.mem)["nr_free_pages"]
        drop(sys, "1")
        assert cached(sys, on_disk) == []
        assert vmstat(machine.mem)["nr_free_pages"] == free + 1
        assert cached(sys, in_memory) == everything, "there is no other place for them"
        assert sys.memory.read(on_disk, len(text)) == sys.memory.read(in_memory, len(text)) == text

    with numalab.boot("2x32M", twins=twins) as machine:
        assert machine.run(main) == 0
        assert (vmstat(machine.mem)["drop_pagecache"], vmstat(machine.mem)["drop_slab"]) == (4, 2)
        machine.check_invariants()


def test_what_may_be_written_and_by_whom() -> None:
    def main(sys: Sys) -> None:
        for bad in ("0", "5", "-1", "x"):
            with pytest.raises(OSError, match="Invalid argument"):
                drop(sys, bad)
        with pytest.raises(OSError, match="Permission denied"):
            sys.open("/proc/sys/vm/drop_caches", abi.O_RDONLY)
        sys.setuid(1000)
        with pytest.raises(OSError, match="Permission denied"):
            drop(sys, "1")

    with numalab.boot("1x32M") as machine:
        assert machine.run(main) == 0
