"""Files on a disk, as programs see them: what is read, written, synced, cut off and mounted again."""

from collections.abc import Iterator

import pytest

import numalab
from numalab import Machine, Sys, abi
from numalab.arch.disk import Disk
from numalab.kernel.fs.block import BlockDevice
from numalab.kernel.fs.namei import resolve
from numalab.kernel.fs.path import Path
from numalab.mm import _constants as c

PAGE = 4096
RDWR = abi.O_RDWR | abi.O_CREAT
MNT_DETACH = 2


@pytest.fixture(params=[False, True], ids=["compiled", "twins"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with numalab.boot("2x16M", twins=request.param, debug_vm=True) as m:
        yield m


def vda(machine: Machine) -> Disk:
    device = resolve(Path(machine.kernel.root), "dev/vda", machine.kernel.init.cred).inode
    assert isinstance(device, BlockDevice)
    return device.disk


def dirty(machine: Machine) -> int:
    return int(machine.kernel.mem.node_stat[:, c.NR_FILE_DIRTY].sum())


def test_written_read_and_synced(machine: Machine) -> None:
    data = bytes(range(251)) * 300

    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        assert sys.write(fd, data) == len(data)
        assert dirty(machine) == -(-len(data) // PAGE)
        assert vda(machine).writes == 0
        sys.fsync(fd)
        assert dirty(machine) == 0
        assert vda(machine).writes == -(-len(data) // PAGE)
        assert sys.pread64(fd, len(data) + 5, 0).buf == data
        assert vda(machine).reads == 0  # it is all in the cache

    assert machine.run(main) == 0


def test_what_left_memory_is_read_from_the_disk(machine: Machine) -> None:
    data = bytes(range(251)) * 300

    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.write(fd, data)
        sys.fsync(fd)
        at = sys.mmap(len(data), fd=fd)
        sys.memory.read(at, len(data))
        sys.madvise(at, len(data), abi.MADV_PAGEOUT)
        assert machine.kernel.mem.node_stat[:, c.NR_FILE_PAGES].sum() == 0
        assert sys.pread64(fd, 10_000, 3000).buf == data[3000:13_000]
        assert vda(machine).reads > 0
        # A part of a page is written: the rest must come from the disk first.
        sys.madvise(at, len(data), abi.MADV_PAGEOUT)
        sys.pwrite64(fd, b"patch", pos=5 * PAGE + 100)
        expected = bytearray(data)
        expected[5 * PAGE + 100 : 5 * PAGE + 105] = b"patch"
        assert sys.pread64(fd, len(data), 0).buf == expected
        assert sys.memory.read(at, len(data)) == expected

    assert machine.run(main) == 0


def test_a_shared_mapping_and_msync(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.ftruncate(fd, 4 * PAGE)
        at = sys.mmap(4 * PAGE, flags=abi.MAP_SHARED, fd=fd)
        sys.memory.write(at + PAGE, b"stored")
        assert dirty(machine) == 1
        sys.msync(at, 4 * PAGE, abi.MS_SYNC)
        assert dirty(machine) == 0
        assert vda(machine).writes == 1
        assert sys.pread64(fd, 6, PAGE).buf == b"stored"
        sys.memory.write(at + PAGE, b"again")
        assert dirty(machine) == 1
        sys.unlink("/mnt/file")
        sys.close(fd)
        assert sys.memory.read(at + PAGE, 6) == b"againd"
        sys.munmap(at, 4 * PAGE)
        assert dirty(machine) == 0

    assert machine.run(main) == 0


def test_cutting_off_gives_blocks_back(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        store = machine.kernel.mem.bdis[1]
        assert store is not None
        free = store.nr_free
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.write(fd, b"x" * 10 * PAGE)
        assert store.nr_free == free - 10
        sys.ftruncate(fd, 2 * PAGE + 10)
        assert store.nr_free == free - 3
        sys.ftruncate(fd, 4 * PAGE)
        assert sys.pread64(fd, 4 * PAGE, 0).buf == b"x" * (2 * PAGE + 10) + bytes(2 * PAGE - 10)
        sys.close(fd)
        sys.unlink("/mnt/file")
        assert store.nr_free == free

    assert machine.run(main) == 0


def test_errors_of_the_disk(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.write(fd, b"x" * 3 * PAGE)
        disk = vda(machine)
        disk.failing = True
        with pytest.raises(OSError, match="Input/output error"):
            sys.fsync(fd)
        sys.fsync(fd)  # it has been told
        at = sys.mmap(3 * PAGE, fd=fd)
        sys.memory.read(at, 3 * PAGE)
        sys.madvise(at, 3 * PAGE, abi.MADV_PAGEOUT)
        with pytest.raises(OSError, match="Input/output error"):
            sys.pread64(fd, 1, 0)
        disk.failing = False
        assert len(sys.pread64(fd, 1, 0).buf) == 1

    assert machine.run(main) == 0


def test_no_fallocate_and_sync(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        with pytest.raises(OSError, match="not supported"):
            sys.fallocate(fd, 0, 0, PAGE)
        sys.write(fd, b"x" * 9 * PAGE)
        sys.sync()
        assert dirty(machine) == 0
        assert vda(machine).writes == 9

    assert machine.run(main) == 0


def test_a_disk_is_unmounted_and_mounted_again(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.write(fd, b"kept")
        with pytest.raises(OSError, match="busy"):
            sys.umount2("/mnt", 0)
        sys.close(fd)
        sys.umount2("/mnt", 0)
        with pytest.raises(OSError, match="No such file"):
            sys.open("/mnt/file")
        sys.mkdir("/tmp/again", 0o755)
        with pytest.raises(OSError, match="Block device required"):
            sys.mount("/tmp/again", "/tmp/again", "ext2", 0, None)
        sys.swapoff("/dev/ram0")
        with pytest.raises(OSError, match="Invalid argument"):
            sys.mount("/dev/ram0", "/tmp/again", "ext2", 0, None)
        sys.mount("/dev/vda", "/tmp/again", "ext2", 0, None)
        assert sys.read(sys.open("/tmp/again/file"), 10).buf == b"kept"

    assert machine.run(main) == 0


def test_a_disk_that_is_mounted_twice(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir("/tmp/again", 0o755)
        sys.mount("/dev/vda", "/tmp/again", "ext2", 0, None)
        with pytest.raises(OSError, match="busy"):
            sys.mount("/dev/vda", "/tmp/again", "ext2", 0, None)
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.write(fd, b"there")
        assert sys.read(sys.open("/tmp/again/file"), 10).buf == b"there"
        sys.umount2("/tmp/again", 0)
        with pytest.raises(OSError, match="No such file"):
            sys.open("/tmp/again/file")
        assert sys.read(sys.open("/mnt/file"), 10).buf == b"there"
        assert vda(machine).writes == 0
        with pytest.raises(OSError, match="busy"):
            sys.umount2("/mnt", 0)

    assert machine.run(main) == 0


def test_a_disk_that_is_mounted_in_itself(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir("/mnt/self", 0o755)
        sys.mount("/dev/vda", "/mnt/self", "ext2", 0, None)
        with pytest.raises(OSError, match="busy"):
            sys.umount2("/mnt", 0)
        sys.umount2("/mnt/self", 0)
        sys.mount("/dev/vda", "/mnt/self", "ext2", 0, None)
        before = len(machine.kernel.mounts)
        sys.umount2("/mnt", MNT_DETACH)
        assert len(machine.kernel.mounts) == before - 2
        with pytest.raises(OSError, match="No such file"):
            sys.stat("/mnt/self")

    assert machine.run(main) == 0


def test_sync_writes_what_is_detached_too(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.ftruncate(fd, PAGE)
        at = sys.mmap(PAGE, flags=abi.MAP_SHARED, fd=fd)
        sys.close(fd)
        sys.umount2("/mnt", MNT_DETACH)
        sys.memory.write(at, b"late")
        assert dirty(machine) == 1
        sys.sync()
        assert dirty(machine) == 0
        assert vda(machine).writes == 1

    assert machine.run(main) == 0


def test_a_disk_has_files_or_is_swapped_to(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        with pytest.raises(OSError, match="busy"):
            sys.swapon("/dev/vda", 0)
        with pytest.raises(OSError, match="busy"):
            sys.mount("/dev/ram0", "/tmp", "ext2", 0, None)
        sys.umount2("/mnt", MNT_DETACH)
        sys.write(fd, b"late")
        with pytest.raises(OSError, match="busy"):
            sys.swapon("/dev/vda", 0)
        sys.write(fd, b"later")
        sys.close(fd)
        sys.swapon("/dev/vda", 0)
        assert dirty(machine) == 0
        with pytest.raises(OSError, match="busy"):
            sys.mount("/dev/vda", "/mnt", "ext2", 0, None)
        sys.swapoff("/dev/vda")
        sys.mount("/dev/vda", "/mnt", "ext2", 0, None)
        assert sys.read(sys.open("/mnt/file"), 10).buf == b"latelater"

    assert machine.run(main) == 0


def test_many_dirty_pages_are_written_before_anybody_asks(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        for _ in range(60):
            sys.write(fd, b"x" * 64 * PAGE)
        assert vda(machine).writes
        assert dirty(machine) < 3840
        assert sys.pread64(fd, PAGE, 30 * 64 * PAGE).buf == b"x" * PAGE

    assert machine.run(main) == 0


def dropped(machine: Machine, sys: Sys, fd: int, pages: int) -> None:
    """The file is on the disk and not in memory any more."""
    sys.fsync(fd)
    at = sys.mmap(pages * PAGE, fd=fd)
    sys.memory.read(at, pages * PAGE)
    sys.madvise(at, pages * PAGE, abi.MADV_PAGEOUT)
    sys.munmap(at, pages * PAGE)
    assert machine.kernel.mem.node_stat[:, c.NR_FILE_PAGES].sum() == 0


@pytest.mark.parametrize("flags", [abi.O_APPEND, 0])
def test_one_write_after_the_other(machine: Machine, flags: int) -> None:
    """Appending, or by a position that processes share: no write is lost while another sleeps."""

    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR | flags, 0o644)
        sys.write(fd, b"a" * 100)
        dropped(machine, sys, fd, 1)
        vda(machine).latency = 1_000_000
        for letter in b"xyz":
            sys.fork(lambda child, letter=letter: child.write(fd, bytes([letter]) * 50))
        for _ in range(3):
            sys.wait()
        data = sys.pread64(fd, 1000, 0).buf
        assert len(data) == 250
        assert sorted(data[100:250:50]) == sorted(b"xyz")

    assert machine.run(main) == 0


def test_a_truncation_that_cannot_read_changes_nothing(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.write(fd, b"a" * 8 * PAGE)
        dropped(machine, sys, fd, 8)
        vda(machine).failing = True
        with pytest.raises(OSError, match="Input/output error"):
            sys.ftruncate(fd, 100)
        vda(machine).failing = False
        assert sys.pread64(fd, 9 * PAGE, 0).buf == b"a" * 8 * PAGE
        sys.ftruncate(fd, 100)
        sys.ftruncate(fd, 8 * PAGE)
        assert sys.pread64(fd, 9 * PAGE, 0).buf == b"a" * 100 + bytes(8 * PAGE - 100)

    assert machine.run(main) == 0


def test_a_locked_page_is_waited_for_and_written(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.ftruncate(fd, PAGE)
        at = sys.mmap(PAGE, flags=abi.MAP_SHARED, fd=fd)
        sys.memory.write(at, b"b" * PAGE)
        page = machine.page_of(sys.task, at)
        assert page is not None
        machine.obstacles.lock_page(page, ns=10**6)
        before = machine.now
        sys.fsync(fd)
        assert machine.now - before >= 10**6
        assert dirty(machine) == 0
        assert vda(machine).writes == 1

    assert machine.run(main) == 0


def test_what_lies_behind_the_end_is_not_written(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.write(fd, b"a" * 100)
        at = sys.mmap(PAGE, flags=abi.MAP_SHARED, fd=fd)
        sys.memory.write(at + 200, b"X" * 10)
        sys.fsync(fd)
        sys.ftruncate(fd, PAGE)
        assert sys.pread64(fd, PAGE, 0).buf == b"a" * 100 + bytes(PAGE - 100)

    assert machine.run(main) == 0


def test_every_open_file_is_told_of_a_lost_write(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fds = [sys.open("/mnt/file", RDWR, 0o644) for _ in range(2)]
        sys.write(fds[0], b"a")
        vda(machine).failing = True
        sys.sync()
        fds.append(sys.open("/mnt/file"))  # nobody has been told yet: it will be
        for fd in fds:
            with pytest.raises(OSError, match="Input/output error"):
                sys.fsync(fd)
            sys.fsync(fd)
        sys.fsync(sys.open("/mnt/file"))

    assert machine.run(main) == 0


def test_no_hole_is_punched_and_mincore_knows_what_was_read(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/mnt/file", RDWR, 0o644)
        sys.write(fd, b"a" * 4 * PAGE)
        dropped(machine, sys, fd, 4)
        at = sys.mmap(4 * PAGE, flags=abi.MAP_SHARED, fd=fd)
        with pytest.raises(OSError, match="not supported"):
            sys.madvise(at, PAGE, abi.MADV_REMOVE)
        vda(machine).failing = True
        with pytest.raises(OSError, match="Bad address"):
            sys.madvise(at, PAGE, abi.MADV_POPULATE_READ)
        assert set(sys.mincore(at, 4 * PAGE).vec) == {0}

    assert machine.run(main) == 0
