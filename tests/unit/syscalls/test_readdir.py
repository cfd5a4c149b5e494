"""getdents64(2): what is listed, in pieces, and what it answers when it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import numalab
from numalab.arch.errno import EBADF, EFAULT, EINVAL, ENOENT, ENOTDIR
from numalab.syscalls.readdir import dirents
from numalab.syscalls.sys import Sys

BAD = 0x10


def run(main: Callable[[Sys], object]) -> None:
    with numalab.boot("dual") as machine:
        assert machine.run(main) == 0


def pieces(sys: Sys, fd: int, count: int) -> list[list[str]]:
    found = []
    while answer := sys.getdents64(fd, count):
        found.append(dirents(answer.dirent))
    return found


def test_a_directory_in_pieces() -> None:
    def main(sys: Sys) -> None:
        names = [f"file{i}" for i in range(300)]
        for name in names:
            sys.close(sys.open(f"/tmp/{name}", os.O_CREAT | os.O_WRONLY, 0o644))
        fd = sys.open("/tmp", os.O_DIRECTORY)
        whole = pieces(sys, fd, 1 << 16)
        assert whole == [[".", "..", *names]]
        assert sys.getdents64(fd, 4096) == 0
        for count in (32, 100, 4096):
            sys.lseek(fd, 0, os.SEEK_SET)
            parts = pieces(sys, fd, count)
            assert len(parts) > 1
            assert [name for part in parts for name in part] == whole[0]
        assert sys.listdir("/tmp") == names

    run(main)


def test_an_entry() -> None:
    """Its inode, where the next one is, its length and its type."""

    def main(sys: Sys) -> None:
        sys.mkdir("/tmp/d", 0o755)
        sys.close(sys.open("/tmp/f", os.O_CREAT | os.O_WRONLY, 0o644))
        data = sys.getdents64(sys.open("/tmp"), 4096).dirent
        kinds, offsets, at = {}, [], 0
        while at < len(data):
            offset, length = (int.from_bytes(data[at + 8 : at + 16], "little"), data[at + 16])
            name = data[at + 19 : at + length].split(b"\0")[0].decode()
            kinds[name] = data[at + 18]
            offsets.append(offset)
            number = int.from_bytes(data[at : at + 8], "little")
            assert number == sys.stat("/tmp/" + name).statbuf.st_ino
            assert length % 8 == 0
            at += length
        assert kinds == {".": 4, "..": 4, "d": 4, "f": 8}
        assert offsets == [1, 2, 3, 4]

    run(main)


def test_names_that_come_and_go_meanwhile() -> None:
    def main(sys: Sys) -> None:
        for name in "abc":
            sys.close(sys.open(f"/tmp/{name}", os.O_CREAT | os.O_WRONLY, 0o644))
        fd = sys.open("/tmp")
        assert dirents(sys.getdents64(fd, 72).dirent) == [".", "..", "a"]
        sys.unlink("/tmp/b")
        sys.close(sys.open("/tmp/d", os.O_CREAT | os.O_WRONLY, 0o644))
        assert dirents(sys.getdents64(fd, 4096).dirent) == ["c"]
        sys.lseek(fd, 0, os.SEEK_SET)
        assert dirents(sys.getdents64(fd, 4096).dirent) == [".", "..", "a", "c", "d"]

    run(main)


def test_processes_and_their_threads() -> None:
    def child(sys: Sys) -> None:
        sys.sleep(1)

    def main(sys: Sys) -> None:
        pid = sys.fork(child)
        assert {"1", str(sys.getpid()), str(pid), "self", "meminfo"} <= set(sys.listdir("/proc"))
        assert "numa_maps" in sys.listdir(f"/proc/{pid}")
        assert sys.listdir(f"/proc/{pid}/task") == [str(pid)]
        assert sys.read_file(f"/proc/{pid}/task/{pid}/status") == sys.read_file(f"/proc/{pid}/status")
        gone = sys.open(f"/proc/{pid}/task")
        sys.wait(pid)
        assert str(pid) not in sys.listdir("/proc")
        with pytest.raises(OSError, match="No such file") as refusal:
            sys.getdents64(gone, 4096)
        assert refusal.value.errno == ENOENT

    run(main)


def test_nodes_are_listed() -> None:
    def main(sys: Sys) -> None:
        nodes = [name for name in sys.listdir("/sys/devices/system/node") if name.startswith("node")]
        assert nodes == ["node0", "node1"]
        assert {"meminfo", "numastat", "cpulist", "distance"} <= set(
            sys.listdir("/sys/devices/system/node/node0")
        )

    run(main)


def test_what_it_answers_when_it_cannot() -> None:
    def main(sys: Sys) -> None:
        sys.mkdir("/tmp/d", 0o755)
        fd, gone = sys.open("/tmp"), sys.open("/tmp/d")
        file = sys.open("/tmp/f", os.O_CREAT | os.O_RDWR, 0o644)
        sys.rmdir("/tmp/d")
        cases = [
            (lambda: sys.getdents64(99, 100), EBADF),
            (lambda: sys.getdents64(file, 100), ENOTDIR),
            (lambda: sys.getdents64(gone, 100), ENOENT),
            (lambda: sys.getdents64(fd, 23), EINVAL),
            (lambda: sys.getdents64(fd, 0), EINVAL),
        ]
        for call, errno in cases:
            with pytest.raises(OSError) as refusal:  # noqa: PT011 - the number is compared
                call()
            assert refusal.value.errno == errno
        assert sys.raw(217, fd, BAD, 4096) == -EFAULT
        assert sys.raw(217, fd, BAD, 0x80000000) == -EINVAL
        assert dirents(sys.getdents64(fd, 4096).dirent) == [".", "..", "f"]  # nothing was passed over

    run(main)
