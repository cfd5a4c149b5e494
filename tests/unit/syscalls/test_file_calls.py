"""Calls on regular files, and which error wins: as Linux 6.12 answered the same calls on a tmpfs."""

import errno
from collections.abc import Callable

import pytest

import numalab
from numalab import abi
from numalab.arch.errno import errno_name
from numalab.kernel.machine import Machine
from numalab.syscalls.abi import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MAP_ANONYMOUS,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MS_ASYNC,
    MS_INVALIDATE,
    MS_SYNC,
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    PROT_EXEC,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
)
from numalab.syscalls.sys import Sys

PAGE = 4096
R, W, RW = PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE
BAD = 0x10000
KERNEL = 0xFFFF_8880_0000_0000
LAST = (1 << 63) - 1
MAP_SYNC, MAP_UNKNOWN, MAP_HUGETLB = 0x80000, 0x400000, 0x40000
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR = -100, 0x1000, 0x100, 0x200


class Calls:
    """Descriptors to call with: one file opened in all ways, and what is no file."""

    def __init__(self, sys: Sys) -> None:
        self.sys = sys
        self.rw = sys.open("/tmp/f", O_CREAT | O_RDWR)
        self.ro = sys.open("/tmp/f", O_RDONLY)
        self.wo = sys.open("/tmp/f", O_WRONLY)
        self.no = sys.open("/tmp/f", 3)
        self.dir = sys.open("/tmp")
        self.maps = sys.open("/proc/self/maps")
        self.numa = sys.open("/sys/kernel/mm/numa/demotion_enabled", O_RDWR)
        self.pipe = sys.pipe().fds
        sys.ftruncate(self.rw, 3 * PAGE + 100)
        self.buf = sys.mmap(4 * PAGE)

    def mmap(self, fd: int, prot: int, flags: int, length: int = PAGE, off: int = 0) -> int:
        return self.sys.mmap(length, prot, flags, fd, off)


OPEN = [
    ("/tmp/f", O_CREAT | O_EXCL | O_RDWR, "EEXIST"),
    ("/tmp/f/", O_RDONLY, "ENOTDIR"),
    ("/tmp/f/", O_CREAT | O_RDWR, "EISDIR"),
    ("/tmp/new/", O_CREAT | O_RDWR, "EISDIR"),
    ("/tmp/..", O_CREAT | O_RDWR, "EISDIR"),
    ("/tmp/f", O_CREAT | O_DIRECTORY, "EINVAL"),
    ("/tmp/f", O_DIRECTORY, "ENOTDIR"),
    ("/tmp", O_CREAT, "EISDIR"),
    ("/tmp", O_CREAT | O_EXCL, "EEXIST"),
    ("/tmp", O_RDWR, "EISDIR"),
    ("/tmp", O_TRUNC, "EISDIR"),
    ("/tmp", O_APPEND, ""),
    ("/proc/self", O_NOFOLLOW, "ELOOP"),
    ("/proc/self", O_NOFOLLOW | O_DIRECTORY, "ENOTDIR"),
    ("/proc/self", O_CREAT | O_EXCL, "EEXIST"),
    ("/proc/self", O_EXCL, ""),
    ("/tmp/f/b", O_CREAT | O_RDWR, "ENOTDIR"),
    ("/proc/x", O_CREAT | O_RDWR, "ENOENT"),
    ("/sys/x", O_CREAT | O_RDWR, "EACCES"),
]

CALLS: list[tuple[str, Callable[[Calls], object], object]] = [
    ("unlinkat: flags", lambda c: c.sys.unlinkat(AT_FDCWD, "/tmp/f", 1), "EINVAL"),
    ("unlinkat: a file is no directory", lambda c: c.sys.unlinkat(AT_FDCWD, "/tmp/f", AT_REMOVEDIR), "ENOTDIR"),
    ("unlinkat: a relative path needs one", lambda c: c.sys.unlinkat(77, "zz", 0), "EBADF"),
    ("ftruncate: not for writing", lambda c: c.sys.ftruncate(c.ro, 0), "EINVAL"),
    ("ftruncate: no descriptor", lambda c: c.sys.ftruncate(77, 0), "EBADF"),
    ("ftruncate: negative before it", lambda c: c.sys.ftruncate(77, -1), "EINVAL"),
    ("ftruncate: a directory", lambda c: c.sys.ftruncate(c.dir, 0), "EINVAL"),
    ("ftruncate: a pipe", lambda c: c.sys.ftruncate(c.pipe[1], 0), "EINVAL"),
    ("ftruncate: what has no length", lambda c: c.sys.ftruncate(c.numa, 5), 0),
    ("ftruncate: as long as can be", lambda c: c.sys.ftruncate(c.rw, LAST), 0),
    ("truncate: a directory", lambda c: c.sys.truncate("/tmp", 0), "EISDIR"),
    ("truncate: nothing", lambda c: c.sys.truncate("/tmp/none", 0), "ENOENT"),
    ("truncate: negative before it", lambda c: c.sys.truncate("/tmp/none", -1), "EINVAL"),
    ("mmap: no descriptor", lambda c: c.mmap(77, R, MAP_SHARED), "EBADF"),
    ("mmap: which comes before no length", lambda c: c.mmap(77, R, MAP_SHARED, 0), "EBADF"),
    ("mmap: no length", lambda c: c.mmap(c.rw, R, MAP_SHARED, 0), "EINVAL"),
    ("mmap: an odd offset", lambda c: c.mmap(c.rw, R, MAP_SHARED, PAGE, 100), "EINVAL"),
    ("mmap: no kind", lambda c: c.mmap(c.rw, R, 0), "EINVAL"),
    ("mmap: unknown flags go unseen", lambda c: c.mmap(c.rw, R, MAP_SHARED | MAP_UNKNOWN), None),
    ("mmap: or not", lambda c: c.mmap(c.rw, R, MAP_SHARED_VALIDATE | MAP_UNKNOWN), "EOPNOTSUPP"),
    ("mmap: NOREPLACE too", lambda c: c.mmap(c.rw, R, MAP_SHARED_VALIDATE | MAP_FIXED_NOREPLACE), "EOPNOTSUPP"),
    ("mmap: SYNC too", lambda c: c.mmap(c.rw, R, MAP_SHARED_VALIDATE | MAP_SYNC), "EOPNOTSUPP"),
    ("mmap: flags before rights", lambda c: c.mmap(c.ro, RW, MAP_SHARED_VALIDATE | MAP_UNKNOWN), "EOPNOTSUPP"),
    ("mmap: VALIDATE is shared", lambda c: c.mmap(c.ro, RW, MAP_SHARED_VALIDATE), "EACCES"),
    ("mmap: sharing what is read only", lambda c: c.mmap(c.ro, RW, MAP_SHARED), "EACCES"),
    ("mmap: a private copy of it", lambda c: c.mmap(c.ro, RW, MAP_PRIVATE), None),
    ("mmap: what cannot be read", lambda c: c.mmap(c.wo, W, MAP_SHARED), "EACCES"),
    ("mmap: nor privately", lambda c: c.mmap(c.wo, PROT_NONE, MAP_PRIVATE), "EACCES"),
    ("mmap: nor at all", lambda c: c.mmap(c.no, PROT_NONE, MAP_SHARED), "EACCES"),
    ("mmap: a directory", lambda c: c.mmap(c.dir, R, MAP_SHARED), "ENODEV"),
    ("mmap: rights before that", lambda c: c.mmap(c.dir, RW, MAP_SHARED), "EACCES"),
    ("mmap: a made-up file", lambda c: c.mmap(c.maps, RW, MAP_PRIVATE), "ENODEV"),
    ("mmap: another", lambda c: c.mmap(c.numa, R, MAP_SHARED), "ENODEV"),
    ("mmap: a pipe", lambda c: c.mmap(c.pipe[0], R, MAP_SHARED), "ENODEV"),
    ("mmap: a pipe's other end", lambda c: c.mmap(c.pipe[1], R, MAP_SHARED), "EACCES"),
    ("mmap: no file grows", lambda c: c.mmap(c.rw, R, MAP_PRIVATE | MAP_GROWSDOWN), "EINVAL"),
    ("mmap: rights before that too", lambda c: c.mmap(c.wo, R, MAP_PRIVATE | MAP_GROWSDOWN), "EACCES"),
    ("mmap: kind of file before that", lambda c: c.mmap(c.dir, R, MAP_PRIVATE | MAP_GROWSDOWN), "ENODEV"),
    ("mmap: no huge pages in it", lambda c: c.mmap(c.rw, R, MAP_SHARED | MAP_HUGETLB), "EINVAL"),
    ("mmap: beyond all files", lambda c: c.mmap(c.rw, R, MAP_SHARED, PAGE, LAST - PAGE + 1), "EOVERFLOW"),
    ("mmap: the last pages", lambda c: c.mmap(c.rw, R, MAP_SHARED, PAGE, LAST + 1 - 2 * PAGE), None),
    ("mmap: one more", lambda c: c.mmap(c.rw, R, MAP_SHARED, 2 * PAGE, LAST + 1 - 2 * PAGE), "EOVERFLOW"),
    ("mmap: that before rights", lambda c: c.mmap(c.wo, R, MAP_SHARED, PAGE, LAST - PAGE + 1), "EOVERFLOW"),
    ("mmap: too long", lambda c: c.mmap(c.rw, R, MAP_SHARED, 1 << 48), "ENOMEM"),
    ("mmap: anonymous, so no file", lambda c: c.mmap(77, R, MAP_PRIVATE | MAP_ANONYMOUS, PAGE, PAGE), None),
    ("pread: beyond the end", lambda c: c.sys.pread64(c.rw, 16, 1 << 40), 0),
    ("pread: up to the end", lambda c: c.sys.pread64(c.rw, 16, 3 * PAGE + 95), 5),
    ("pread: negative", lambda c: c.sys.pread64(c.rw, 16, -1), "EINVAL"),
    ("pread: not for reading", lambda c: c.sys.pread64(c.wo, 16, 0), "EBADF"),
    ("pread: for neither", lambda c: c.sys.pread64(c.no, 16, 0), "EBADF"),
    ("pread: nothing to store", lambda c: c.sys.raw(17, c.rw, BAD, 1, 1 << 40), 0),
    ("pread: nowhere to store", lambda c: c.sys.raw(17, c.rw, BAD, 1, 0), -errno.EFAULT),
    ("pread: no user address", lambda c: c.sys.raw(17, c.rw, KERNEL, 1, 1 << 40), -errno.EFAULT),
    ("pread: a directory", lambda c: c.sys.pread64(c.dir, 1, 0), "EISDIR"),
    ("pwrite: not for writing", lambda c: c.sys.pwrite64(c.ro, b"x", pos=0), "EBADF"),
    ("pwrite: at the end of all files", lambda c: c.sys.pwrite64(c.rw, b"x", pos=LAST), "EINVAL"),
    ("pwrite: nothing there", lambda c: c.sys.pwrite64(c.rw, b"", pos=LAST), 0),
    ("pwrite: across it", lambda c: c.sys.pwrite64(c.rw, b"xy", pos=LAST - 1), "EINVAL"),
    ("pwrite: nothing to read", lambda c: c.sys.raw(18, c.rw, BAD, 1, 0), -errno.EFAULT),
    ("pwrite: as much as can be read", lambda c: c.sys.raw(18, c.rw, c.buf + 4 * PAGE - 10, 100, 0), 10),
    ("lseek: from the end", lambda c: c.sys.lseek(c.rw, 5, SEEK_END), 3 * PAGE + 105),
    ("lseek: before the start", lambda c: c.sys.lseek(c.rw, -5 * PAGE, SEEK_END), "EINVAL"),
    ("lseek: a directory has no end", lambda c: c.sys.lseek(c.dir, 0, SEEK_END), "EINVAL"),
    ("lseek: a pipe", lambda c: c.sys.lseek(c.pipe[0], 0, SEEK_END), "ESPIPE"),
    ("lseek: the end of all files", lambda c: c.sys.lseek(c.rw, LAST, SEEK_SET) and c.sys.lseek(c.rw, 1, SEEK_CUR),
     "EINVAL"),
    ("fallocate: no length", lambda c: c.sys.fallocate(c.ro, 2, 0, 0), "EINVAL"),
    ("fallocate: no descriptor first", lambda c: c.sys.fallocate(77, 9, 0, 0), "EBADF"),
    ("fallocate: mode before rights", lambda c: c.sys.fallocate(c.ro, 2, 0, PAGE), "EOPNOTSUPP"),
    ("fallocate: not for writing", lambda c: c.sys.fallocate(c.ro, 0, 0, PAGE), "EBADF"),
    ("fallocate: another mode", lambda c: c.sys.fallocate(c.rw, 0x10, 0, PAGE), "EOPNOTSUPP"),
    ("fallocate: an unknown one", lambda c: c.sys.fallocate(c.rw, 0x100, 0, PAGE), "EOPNOTSUPP"),
    ("fallocate: a pipe", lambda c: c.sys.fallocate(c.pipe[1], 0, 0, PAGE), "ESPIPE"),
    ("fallocate: a made-up file", lambda c: c.sys.fallocate(c.numa, 0, 0, PAGE), "EOPNOTSUPP"),
    ("fallocate: beyond all files", lambda c: c.sys.fallocate(c.rw, 0, LAST, 1), "EFBIG"),
    ("fallocate: more than there is", lambda c: c.sys.fallocate(c.rw, 0, 0, 1 << 40), "ENOSPC"),
    ("fsync: a directory", lambda c: c.sys.fsync(c.dir), 0),
    ("fsync: a pipe", lambda c: c.sys.fsync(c.pipe[0]), "EINVAL"),
    ("fsync: a made-up file", lambda c: c.sys.fsync(c.maps), "EINVAL"),
    ("fstatat: flags", lambda c: c.sys.newfstatat(AT_FDCWD, BAD, BAD, 8), "EINVAL"),
    ("fstatat: no path", lambda c: c.sys.newfstatat(AT_FDCWD, "", flags=0), "ENOENT"),
    ("fstatat: the descriptor", lambda c: c.sys.newfstatat(c.rw, "", flags=AT_EMPTY_PATH), 0),
    ("fstatat: a null path", lambda c: c.sys.newfstatat(c.rw, 0, flags=AT_EMPTY_PATH), 0),
    ("fstatat: no such path before bad memory", lambda c: c.sys.newfstatat(AT_FDCWD, "/tmp/no", BAD, 0), "ENOENT"),
    ("fstatat: bad memory", lambda c: c.sys.newfstatat(AT_FDCWD, "/tmp/f", BAD, 0), "EFAULT"),
    ("fstat: no descriptor", lambda c: c.sys.fstat(77, BAD), "EBADF"),
    ("memfd: flags before the name", lambda c: c.sys.memfd_create(1, 0x20), "EINVAL"),
    ("memfd: both kinds of seal", lambda c: c.sys.memfd_create("x", 0x18), "EINVAL"),
    ("memfd: a bad name", lambda c: c.sys.memfd_create(1, 0), "EFAULT"),
    ("memfd: the longest name", lambda c: c.sys.memfd_create("a" * 249, 0) > 0, True),
    ("memfd: a longer one", lambda c: c.sys.memfd_create("a" * 250, 0), "EINVAL"),
    ("dup2: no descriptor", lambda c: c.sys.dup2(77, 5), "EBADF"),
    ("dup2: itself", lambda c: c.sys.dup2(c.rw, c.rw) == c.rw, True),
    ("dup2: too high", lambda c: c.sys.dup2(c.rw, 100_000), "EBADF"),
    ("dup3: itself, before all", lambda c: c.sys.dup3(77, 77, 0), "EINVAL"),
    ("dup3: flags", lambda c: c.sys.dup3(c.rw, 50, 1), "EINVAL"),
    ("msync: both ways", lambda c: c.sys.msync(c.buf, PAGE, MS_ASYNC | MS_SYNC), "EINVAL"),
    ("msync: flags", lambda c: c.sys.msync(c.buf, PAGE, 8), "EINVAL"),
    ("msync: odd", lambda c: c.sys.msync(c.buf + 1, PAGE, MS_SYNC), "EINVAL"),
    ("msync: rounded to nothing", lambda c: c.sys.msync(c.buf, -1, MS_SYNC), 0),
    ("msync: a hole", lambda c: c.sys.msync(BAD, PAGE, MS_ASYNC), "ENOMEM"),
    ("msync: locked", lambda c: (c.sys.mlock(c.buf, PAGE), c.sys.msync(c.buf, PAGE, MS_INVALIDATE)), "EBUSY"),
    ("mount: nowhere", lambda c: c.sys.mount("x", "/tmp/none", "nofs"), "ENOENT"),
    ("mount: no such type", lambda c: c.sys.mount("x", "/tmp/f", "nofs"), "ENODEV"),
    ("mount: on a file", lambda c: c.sys.mount("x", "/tmp/f", "tmpfs"), "ENOTDIR"),
    ("mount: no such option", lambda c: c.sys.mount("x", "/tmp", "tmpfs", 0, "foo=4k"), "EINVAL"),
    ("mount: 64 bits of a size", lambda c: c.sys.mount("x", "/tmp", "tmpfs", 0, f"size={10**23}"), 0),
    ("mount: 64 bits of a part", lambda c: c.sys.mount("x", "/tmp", "tmpfs", 0, f"size={10**23}e%"), 0),
    ("mount: more blocks than can be", lambda c: c.sys.mount("x", "/tmp", "tmpfs", 0, "nr_blocks=8e"), "EINVAL"),
    ("mount: no such user", lambda c: c.sys.mount("x", "/tmp", "tmpfs", 0, f"uid={2**32 - 1}"), "EINVAL"),
    ("mount: a group with a unit", lambda c: c.sys.mount("x", "/tmp", "tmpfs", 0, "gid=1k"), "EINVAL"),
    ("mount: mode of 33 bits", lambda c: c.sys.mount("x", "/tmp", "tmpfs", 0, "mode=40000000000"), "EINVAL"),
    ("umount: flags", lambda c: c.sys.umount2("/nothing", 0x100), "EINVAL"),
    ("umount: nothing mounted", lambda c: c.sys.umount2("/tmp/f", 0), "EINVAL"),
    ("umount: in use", lambda c: c.sys.umount2("/tmp", 0), "EBUSY"),
]  # fmt: skip


def answer(call: Callable[[], object]) -> object:
    try:
        return call()
    except OSError as error:
        return errno_name(error.errno or 0)


@pytest.mark.parametrize(("path", "flags", "expected"), OPEN)
def test_open(machine: Machine, path: str, flags: int, expected: str) -> None:
    def main(sys: Sys) -> None:
        Calls(sys)
        got = answer(lambda: sys.open(path, flags))
        assert (got if isinstance(got, str) else "") == expected

    assert machine.run(main) == 0


@pytest.mark.parametrize(("call", "expected"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_call(machine: Machine, call: Callable[[Calls], object], expected: object) -> None:
    """None: an address."""

    def main(sys: Sys) -> None:
        got = answer(lambda: call(Calls(sys)))
        assert got == expected or (expected is None and isinstance(got, int) and got > PAGE)

    assert machine.run(main) == 0


def test_what_a_user_may(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.open("/tmp/roots", O_CREAT | O_RDWR)
        sys.open("/tmp/secret", O_CREAT | O_RDWR, 0o600)
        assert sys.stat("/tmp/roots").statbuf.st_mode == 0o100644
        sys.setresgid(1000, 1000, 1000)
        sys.setresuid(1000, 1000, 1000)
        assert answer(lambda: sys.open("/tmp/roots", O_RDWR)) == "EACCES"
        assert answer(lambda: sys.open("/tmp/roots", O_RDONLY | O_TRUNC)) == "EACCES"
        assert answer(lambda: sys.open("/tmp/roots", O_CREAT | O_RDWR)) == "EACCES"
        assert isinstance(answer(lambda: sys.open("/tmp/roots", O_CREAT)), int)
        assert answer(lambda: sys.open("/tmp/secret")) == "EACCES"
        assert answer(lambda: sys.unlink("/tmp/roots")) == "EPERM", "the directory is sticky"
        assert answer(lambda: sys.truncate("/tmp/roots", 0)) == "EACCES"
        assert answer(lambda: sys.truncate("/tmp/secret", -1)) == "EINVAL"
        assert answer(lambda: sys.chmod("/tmp/roots", 0o777)) == "EPERM"
        assert answer(lambda: sys.mount("x", "/tmp", "tmpfs")) == "EPERM"
        assert answer(lambda: sys.umount2("/tmp", 0)) == "EPERM"
        assert answer(lambda: sys.umount2("/nothing", 0)) == "ENOENT"
        mine = sys.open("/tmp/mine", O_CREAT | O_RDWR, 0)
        assert sys.write(mine, b"made by me, so open for me") == 26
        assert answer(lambda: sys.open("/tmp/mine", O_RDWR)) == "EACCES"
        assert sys.unlink("/tmp/mine") == 0
        assert sys.pread64(mine, 4, 0).buf == b"made"

    assert machine.run(main) == 0


def test_modes_and_counts(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/tmp/su", O_CREAT | O_RDWR, 0o6777)
        assert sys.fstat(fd).statbuf.st_mode == 0o106755
        sys.mkdir("/tmp/d", 0o7777)
        assert sys.stat("/tmp/d").statbuf.st_mode == 0o41755
        sys.chmod("/tmp/d", 0o2777)
        sys.mkdir("/tmp/d/e", 0o755)
        below, above = sys.stat("/tmp/d/e").statbuf, sys.stat("/tmp/d").statbuf
        assert (below.st_mode, below.st_nlink) == (0o42755, 2)
        assert (above.st_nlink, above.st_size) == (3, 60)
        sys.write(fd, b"x" * 5000)
        info = sys.fstat(fd).statbuf
        assert (info.st_size, info.st_blocks, info.st_blksize, info.st_nlink) == (5000, 16, PAGE, 1)
        here = sys.open("/tmp/d")
        sys.rmdir("/tmp/d/e")
        sys.rmdir("/tmp/d")
        assert sys.fstat(here).statbuf.st_nlink == 0
        assert answer(lambda: sys.openat(here, "x", O_CREAT | O_RDWR, 0o666)) == "ENOENT"
        assert isinstance(answer(lambda: sys.openat(here, "../g", O_CREAT | O_RDWR, 0o666)), int)
        assert (sys.umask(0o777), sys.umask(0o1777), sys.umask(0)) == (0o22, 0o777, 0o777)
        assert sys.lstat("/proc/self").statbuf.st_mode == 0o120777

    assert machine.run(main) == 0


def test_appending(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/tmp/log", O_CREAT | O_RDWR | O_APPEND)
        assert (sys.write(fd, b"abc"), sys.pwrite64(fd, b"de", pos=0)) == (3, 2)
        assert (sys.lseek(fd, 0, SEEK_CUR), sys.lseek(fd, 0, SEEK_END)) == (3, 5)
        assert (sys.write(fd, b"f"), sys.lseek(fd, 0, SEEK_CUR)) == (1, 6)
        assert sys.pread64(fd, 9, 0).buf == b"abcdef"

    assert machine.run(main) == 0


def test_what_could_be_stored_before_a_bad_address_has_been_read(machine: Machine) -> None:
    """generic_file_read_iter(): a short read, and the position stands behind it."""

    def main(sys: Sys) -> None:
        fd = sys.memfd_create("file")
        sys.write(fd, bytes(range(256)) * 32)
        at = sys.mmap(2 * PAGE)
        sys.munmap(at + PAGE, PAGE)
        sys.lseek(fd, 0, SEEK_SET)
        for _ in range(2):
            assert sys.raw(0, fd, at + PAGE - 100, 2 * PAGE) == 100
        assert sys.lseek(fd, 0, SEEK_CUR) == 200
        assert sys.memory.read(at + PAGE - 100, 100) == bytes(range(100, 200))
        assert sys.raw(0, fd, at + PAGE, 1) == -errno.EFAULT

    assert machine.run(main) == 0


def test_a_mapping_of_what_is_read_only_stays_so(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        c = Calls(sys)
        shared, private = c.mmap(c.ro, R, MAP_SHARED), c.mmap(c.ro, R, MAP_PRIVATE)
        assert answer(lambda: sys.mprotect(shared, PAGE, RW)) == "EACCES"
        assert sys.mprotect(shared, PAGE, R | PROT_EXEC) == 0
        assert sys.mprotect(private, PAGE, RW) == 0
        assert answer(lambda: sys.madvise(shared, PAGE, abi.MADV_REMOVE)) == "EACCES"
        assert answer(lambda: sys.madvise(private, PAGE, abi.MADV_REMOVE)) == "EACCES"
        assert answer(lambda: sys.madvise(private, PAGE, abi.MADV_FREE)) == "EINVAL"
        both = c.mmap(c.rw, RW, MAP_SHARED, 6 * PAGE)
        assert answer(lambda: sys.mlock(both, 6 * PAGE)) == "ENOMEM", "two pages lie beyond the end"
        assert answer(lambda: sys.madvise(both, PAGE, abi.MADV_REMOVE)) == "EINVAL"
        sys.munlock(both, 6 * PAGE)
        sys.memory.write(both, b"gone")
        assert sys.madvise(both, PAGE, abi.MADV_REMOVE) == 0
        assert sys.memory.read(both, 4) == bytes(4)
        assert answer(lambda: sys.madvise(both, 6 * PAGE, abi.MADV_POPULATE_READ)) == "EFAULT"

    assert machine.run(main) == 0


def test_a_file_shared_without_a_name(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.memfd_create("hello")
        info = sys.fstat(fd).statbuf
        assert (info.st_mode, info.st_nlink, info.st_dev) == (0o100777, 0, 1)
        sys.ftruncate(fd, 2 * PAGE)
        at = sys.mmap(2 * PAGE, fd=fd)
        line = next(line for line in sys.read_file("/proc/self/maps").splitlines() if "hello" in line)
        assert line.endswith("/memfd:hello (deleted)")
        assert " rw-s 00000000 00:01 " in line
        assert r"file=/memfd:hello\040(deleted)" in sys.read_file("/proc/self/numa_maps")
        sys.memory.write(at, b"through memory")
        assert sys.read(fd, 14).buf == b"through memory"
        sys.close(fd)
        assert sys.memory.read(at, 7) == b"through", "the mapping keeps it"

    before = [machine.node_pages(nid)[1] for nid in range(4)]
    assert machine.run(main) == 0
    assert [machine.node_pages(nid)[1] for nid in range(4)] == before


def test_a_file_system_that_is_full(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir("/tmp/m", 0o755)
        sys.mount("x", "/tmp/m", "tmpfs", 0, "size=4k")
        fd = sys.open("/tmp/m/a", O_CREAT | O_RDWR)
        assert sys.write(fd, bytes(PAGE)) == PAGE
        assert answer(lambda: sys.write(fd, b"x")) == "ENOSPC"
        assert sys.pwrite64(fd, bytes(3 * PAGE), pos=100) == PAGE - 100
        sys.ftruncate(fd, 10 * PAGE)
        at = sys.mmap(4 * PAGE, fd=fd)
        assert sys.memory.read(at, 1) == b"\0"
        assert answer(lambda: sys.madvise(at + PAGE, PAGE, abi.MADV_POPULATE_READ)) == "EFAULT"
        assert answer(lambda: sys.fallocate(fd, 0, 0, 3 * PAGE)) == "ENOSPC"
        assert answer(lambda: sys.rmdir("/tmp/m")) == answer(lambda: sys.umount2("/tmp/m", 0)) == "EBUSY"
        assert sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) == 0
        assert sys.fallocate(fd, FALLOC_FL_KEEP_SIZE, 5 * PAGE, PAGE) == 0
        sys.munmap(at, 4 * PAGE)
        sys.close(fd)
        assert sys.umount2("/tmp/m", 0) == 0
        assert answer(lambda: sys.open("/tmp/m/a")) == "ENOENT"
        assert sys.rmdir("/tmp/m") == 0

    assert machine.run(main) == 0


def test_large_writes_and_reads(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        data = bytes(range(251)) * 20_000
        fd = sys.open("/tmp/large", O_CREAT | O_RDWR)
        sys.set_mempolicy(abi.MPOL_INTERLEAVE, {1, 2})
        assert sys.write(fd, data) == len(data)
        assert sys.pread64(fd, len(data) + 9, 0).buf == data
        at = sys.mmap(len(data), fd=fd)
        nodes = {sys.get_mempolicy(addr=at + i * PAGE, flags=3).mode for i in range(8)}
        assert nodes == {1, 2}, "the pages lie where the policy of the writer has them"
        sys.unlink("/tmp/large")

    before = [machine.node_pages(nid)[1] for nid in range(4)]
    assert machine.run(main) == 0
    assert [machine.node_pages(nid)[1] for nid in range(4)] == before


def test_the_policy_of_a_file_outlives_its_mappings(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/tmp/p", O_CREAT | O_RDWR)
        sys.ftruncate(fd, 4 * PAGE)
        at = sys.mmap(4 * PAGE, fd=fd)
        sys.mbind(at, 2 * PAGE, abi.MPOL_BIND, {3})
        sys.munmap(at, 4 * PAGE)
        sys.close(fd)
        assert sys.write(sys.open("/tmp/p", O_WRONLY), bytes(4 * PAGE)) == 4 * PAGE
        at = sys.mmap(4 * PAGE, fd=sys.open("/tmp/p", O_RDWR))
        assert [sys.get_mempolicy(addr=at + i * PAGE, flags=3).mode for i in range(4)] == [3, 3, 0, 0]

    assert machine.run(main) == 0


def test_mincore_tells_of_a_file_only_who_might_write_it(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/tmp/c", O_CREAT | O_RDWR)
        sys.write(fd, b"one page")
        sys.ftruncate(fd, 3 * PAGE)
        at = sys.mmap(3 * PAGE, R, MAP_SHARED, fd)
        assert sys.mincore(at, 3 * PAGE).vec == b"\1\0\0"
        sys.setresuid(1000, 1000, 1000)
        assert sys.mincore(at, 3 * PAGE).vec == b"\1\1\1"

    assert machine.run(main) == 0


def test_descriptors_of_one_file_share_its_position() -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/tmp/x", O_CREAT | O_RDWR)
        other = sys.dup(fd)
        sys.dup2(fd, 99)
        sys.write(fd, b"abcdef")
        sys.lseek(99, 1, SEEK_SET)
        assert sys.read(other, 2).buf == b"bc"
        sys.close(fd)
        sys.close(other)
        assert sys.read(99, 9).buf == b"def"
        sys.dup3(99, 98, abi.O_CLOEXEC)
        sys.execve(after)

    def after(sys: Sys) -> None:
        assert sys.lseek(99, 0, SEEK_CUR) == 6
        assert answer(lambda: sys.lseek(98, 0, SEEK_CUR)) == "EBADF"

    with numalab.boot("1x8M") as machine:
        assert machine.run(main) == 0
        machine.check_invariants()


def test_a_name_that_is_no_text_is_in_maps_as_it_is(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.memfd_create(b"\xff\xc3\xa9", 0)
        sys.ftruncate(fd, PAGE)
        sys.mmap(PAGE, fd=fd, flags=abi.MAP_SHARED)
        maps = sys.open("/proc/self/maps")
        assert b"/memfd:\xff\xc3\xa9 (deleted)\n" in sys.read(maps, 1 << 16).buf

    assert machine.run(main) == 0
