"""System calls whose lines are recorded from the real strace: what stands in memory, and the six registers.

`record.py` makes them on the host and writes `calls.txt`; `test_strace.py` shows the same to our tracer.  Each call
finds two pages at P, a page that holds `memory` at M, a page without permissions at NONE, and nothing at HOLE.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CALLS", "CONTENT", "DIR", "FILE", "HOLE", "NONE", "PAGE", "Call", "M", "P"]

PAGE = 4096
P, M, HOLE, NONE = 0x100000000000, 0x200000000000, 0x300000000000, 0x400000000000
END = M + PAGE
FILE = 90  # a descriptor of a file of CONTENT
DIR = 91  # and of an empty directory
CONTENT = bytes(range(32, 64)) + b"0123456789\n" * 3
AT_FDCWD, NOBODY = -100, 4190000
NODE0 = (1).to_bytes(8, "little")


@dataclass(frozen=True)
class Call:
    """One call: its name, or its number where it has none; its registers; and what stands at M."""

    name: str | int
    args: tuple[int, ...]
    memory: bytes = b""


def words(*values: int, size: int = 8) -> bytes:
    """Integers as they lie in memory."""
    return b"".join((value % (1 << 8 * size)).to_bytes(size, "little") for value in values)


def _text(*strings: str) -> bytes:
    """C strings, 64 bytes each."""
    return b"".join(string.encode("latin-1").ljust(64, b"\0") for string in strings)


def _calls(name: str | int, *argument_lists: tuple[int, ...], memory: bytes = b"") -> list[Call]:
    return [Call(name, args, memory) for args in argument_lists]


_BIND, _MOVE = 2, 2

MBIND = [
    *(Call("mbind", (P, 8192, mode, M, 64, 0), NODE0) for mode in range(9)),
    *(Call("mbind", (P, 8192, mode | 1, M, 64, 0), NODE0) for mode in (0x8000, 0x4000, 0x2000, 0xC000, 0xE000,
            0x100)),
    Call("mbind", (P, 8192, -1, M, 64, 0), NODE0),
    *(Call("mbind", (P, 8192, _BIND, M, 64, flags), NODE0) for flags in (1, 2, 3, 4, 7, 8, 9, 16, 0x103,
            0x80000000, -1)),
    *(Call("mbind", (P, 8192, _BIND, M, maxnode, 0), NODE0 + bytes(64)) for maxnode in (0, 1, 2, 63, 64, 65, 66,
            128, 129, 130, 512, 1024, 4096, 32768, 32769, 1 << 40, -1)),
    *(Call("mbind", (P, 8192, _BIND, M, 129, 0), words(*mask)) for mask in ((0x8000000000000001, 5), (-1, -1),
            (0, 0))),
    *_calls("mbind", (P, 8192, _BIND, 0, 0, 0), (P, 8192, _BIND, 0, 64, 0), (P, 8192, _BIND, HOLE, 64, 0),
            (P, 8192, _BIND, NONE, 64, 0), (P, 8192, _BIND, 8, 64, 0), (P + 1, 1, 0, 0, 0, 0),
            (0, -1, 0, 0, 0, 0), (HOLE, 4096, 0, 0, 0, 0), (P, 8192, _BIND, END - 8, 128, 0),
            (P, 8192, _BIND, END - 4, 64, 0)),
]  # fmt: skip

SET_MEMPOLICY = [
    *(Call("set_mempolicy", (mode, M, 64), NODE0) for mode in (1, 2, 3, 5, 6, 7, 0x8002, 0x4002, 0x2002, 0x6002,
            99, -1)),
    *_calls("set_mempolicy", (3, M, 65), (3, M, 1024), (3, M, 100000), (2, HOLE, 64), memory=NODE0),
    *_calls("set_mempolicy", (4, 0, 0), (0, 0, 64), (0x8000, 0, 0), (0, 0, 0)),
]  # fmt: skip

GET_MEMPOLICY = [
    *_calls("get_mempolicy", (M, M + 8, 1024, 0, 0), (M, M + 8, 1024, P, 2), (M, M + 8, 1024, P, 3),
            (M, 0, 0, 0, 0), (0, M + 8, 1024, 0, 4), (0, 0, 0, 0, 4), (M, M + 8, 1, 0, 0), (M, M + 8, 1024, 0, 8),
            (0, 0, 0, 0, 15), (M, M + 8, 1024, HOLE, 2), (HOLE, 0, 0, 0, 0), (0, HOLE, 1024, 0, 0),
            (0, M + 8, 65, 0, 4), (0, M + 8, 1 << 20, 0, 4), (0, 0, 0, P, 2), (M, 0, 0, P, 3), (0, 0, 0, P, -1),
            (0, 0, 0, P, 16)),
]  # fmt: skip

MIGRATION = [
    *_calls("migrate_pages", (0, 64, M, M + 8), (0, 65, M, M + 8), (NOBODY, 64, M, M + 8), (0, 128, M, M + 16),
            (0, 0, 0, 0), (0, 64, 0, M), (0, 64, HOLE, M), (0, 64, M, HOLE), (-1, 64, M, M), (0, 1, M, M),
            (1 << 32, 64, M, M), (0, 100000, M, M), memory=words(1, 1, 1, 0)),
    *_calls("move_pages", (0, 2, M, M + 16, M + 32, 0), (0, 2, M, 0, M + 32, 0), (0, 2, M, M + 16, M + 32, 2),
            (0, 2, M, M + 16, M + 32, 4), (0, 2, M, M + 16, M + 32, 6), (0, 2, M, M + 16, M + 32, 1),
            (0, 2, M, M + 16, M + 32, 8), (0, 2, M, M + 16, M + 32, 0x12), (0, 0, M, M, M, 6), (0, 0, 0, 0, 0, 0),
            (0, 2, HOLE, 0, M, 0), (0, 2, M, HOLE, M + 32, 0), (0, 2, M, M + 16, HOLE, 2), (0, 2, M, 0, 8, 0),
            (0, 2, 0, 0, M, 0), (NOBODY, 2, M, 0, M + 32, 0), (-1, 1, M, 0, M + 32, 0), (0, 1, M, M + 16, 0, 2),
            memory=words(P, P + PAGE) + words(0, 0, size=4)),
    *_calls("move_pages", (0, 4, M, M + 32, M + 64, 2), (0, 4, M, 0, M + 64, 0),
            memory=words(P, HOLE, 0, P + 1) + words(0, 0, -1, 99, size=4)),
    Call("move_pages", (0, 40, M, 0, M + 320, 0), words(*[P] * 40)),
    Call("move_pages", (0, 33, M, M + 320, M + 1024, 2), words(*[P] * 40)),
    Call("move_pages", (0, 32, M, M + 320, M + 1024, 2), words(*[P] * 40)),
    Call("move_pages", (0, 4, END - 16, 0, M, 0)),
    Call("move_pages", (0, 4, M, END - 8, M + 64, 2), words(P, P, P, P)),
    Call("move_pages", (0, -1, M, 0, M + 64, 0), words(P, P, P, P)),
    *_calls("set_mempolicy_home_node", (P, 8192, 0, 0), (P, 8192, 99, 0), (P, 8192, 0, 1), (P + 1, 1, 1 << 40, 2)),
]  # fmt: skip

_PROTS = (0, 1, 2, 3, 4, 5, 7, 8, 0x10, 0x01000000, 0x02000000, 0x03000001, 0x40000000, -1)
_MAPS = (0, 1, 2, 3, 0x20, 0x21, 0x22, 0x23, 0x4022, 0x8022, 0x10022, 0x122, 0x822, 0x1022, 0x2022, 0x20022,
          0x40022, 0x62, 0x80023, 0x100022, 0x32, 0x24, 0x2F, 0x200022, 0x4000022, 0x15440022, 0x80000022,
          1 << 35 | 0x22, -1)  # fmt: skip
_ADVICES = (*range(27), 102, 103, -1)

MEMORY = [
    *(Call("mmap", (0, 4096, prot, 0x22, -1, 0)) for prot in _PROTS),
    *(Call("mmap", (0, 4096, 3, flags, -1, 0)) for flags in _MAPS),
    *_calls("mmap", (HOLE, 4096, 0, 0x32, -1, 0), (0, 0, 0, 0x22, -1, 0), (1, 4096, 1, 2, 99, 4096),
            (0, 4096, 1, 2, -1, 0x12345000), (0, 4096, 1, 2, 3, 1), (0, -1, 3, 0x22, -1, -4096),
            (HOLE, 4096, 3, 0x32, 0xFFFFFFFF, 0)),
    Call("munmap", (HOLE, 4096)),
    *_calls("munmap", (HOLE, 0), (HOLE + 1, 4096), (0, 4096), (-4096, 4096)),
    *(Call("mprotect", (P, 8192, prot)) for prot in _PROTS if prot != 7),
    *_calls("mprotect", (HOLE, 4096, 1), (P + 1, 4096, 1), (P, 0, 3), (P, 8192, 3)),
    *_calls("brk", (0,), (1,), (P,)),
    *(Call("mremap", (P, 8192, 8192, flags, HOLE)) for flags in (0, 1, 2, 4, 6, 8, 16, 17, -1)),
    *_calls("mremap", (P, 8192, 4096, 1, 0), (P, 4096, 8192, 1, 0), (P, 8192, 8192, 3, 1), (P, 8192, 8192, 5, 1),
            (HOLE, 4096, 8192, 0, 0), (HOLE, 4096, 8192, 1, 0), (P, 0, 0, 0, 0)),
    *(Call("madvise", (P, 8192, advice)) for advice in _ADVICES),
    *_calls("madvise", (HOLE, 4096, 4), (HOLE, 4096, 100), (HOLE, 4096, 101), (0, 0, 0), (P + 1, 1, 4)),
    *_calls("mlock", (P, 4096), (HOLE, 4096), (0, 0)),
    *_calls("munlock", (P, 4096), (HOLE, 4096)),
    *_calls("mlock2", (P, 4096, 0), (P, 4096, 1), (P, 4096, 2), (P, 4096, 3), (HOLE, 4096, 1), (P, 4096, -1)),
    *_calls("mlockall", (0,), (1,), (2,), (3,), (4,), (5,), (7,), (8,), (9,), (-1,)),
    Call("munlockall", ()),
    *(Call("msync", (P, 4096, flags)) for flags in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1)),
    Call("msync", (HOLE, 4096, 4)),
    *_calls("mincore", (P, 8192, M), (P, 4096, M), (HOLE, 4096, M), (P, 8192, HOLE), (P + 1, 1, M), (P, 0, 0),
            (P, 8192, 0)),
    Call("mincore", (P, 8191, M)),
    *_calls("pidfd_open", (NOBODY, 0), (-1, 0), (NOBODY, 0x800), (NOBODY, 0x801), (NOBODY, 1), (0, -1)),
    *_calls("process_madvise", (99, M, 2, 20, 0), (99, M, 1, 99, 1), (99, M, 0, 4, -1), (99, 0, 0, 4, 0),
            (-1, HOLE, 1, 21, 0), (99, M, 33, 20, 0), (99, END - 16, 2, 20, 0), (99, M, -1, 20, 0), (99, M, 1, -1, 0),
            memory=words(P, 4096, 0, 1)),
]  # fmt: skip

_OPENS = (0, 1, 2, 3, 0o100, 0o101, 0o300, 0o1002, 0o2001, 0o4000, 0o10000, 0o4010000, 0o20000, 0o40000, 0o100000,
          0o200000, 0o4000000, 0o640000, 0o32420000, 0o50000, 0o400000, 0o1000000, 0o2000000, 0o10000000,
          0o20000000, 0o20200000, 0o20200002, 0o400, 4, 8, 1 << 30, -1)  # fmt: skip
_MODES = (0, 1, 7, 0o10, 0o77, 0o100, 0o644, 0o666, 0o777, 0o1777, 0o4755, 0o7777, 0o10644,
          0o100644, 0o777777)  # fmt: skip
_PATHS = _text("gone/file", "", 'a\tb\n\\"\x01\x7f\xff8', "\x0012")

FILES = [
    *(Call(call, (*dirfd, M, flags, 0o644), _PATHS) for call, dirfd in (("open", ()),
            ("openat", (AT_FDCWD,))) for flags in _OPENS),
    *(Call("open", (M, 0o101, mode), _PATHS) for mode in _MODES),
    *_calls("open", (M + 64, 0, 0), (M + 128, 0, 0), (M + 192, 0, 0), (0, 0, 0), (8, 0, 0), (HOLE, 0, 0),
            (NONE, 0, 0), (END - 5, 0, 0), memory=_PATHS),
    *(Call("open", (M, 0, 0), b"x" * size + b"\0") for size in (31, 32, 33, 255, 300)),
    Call("open", (M, 0, 0), b"x" * PAGE),
    Call("open", (END - 4, 0, 0), b"x" * PAGE),
    *_calls("openat", (-1, M, 0, 0), (99, M, 0, 0), (0x7FFFFF9C, M, 0, 0), (AT_FDCWD, 0, 0, 0), memory=_PATHS),
    *_calls("creat", (M, 0o644), (M, 0), (0, 0o7777), memory=_PATHS),
    *_calls("read", (99, M, 10), (99, 0, 0), (-1, M, 0), (99, M, -1)),
    *_calls("read", (FILE, M, 5), (FILE, M, 0), (FILE, M, 32), (FILE, M, 100), (FILE, M, 100), (FILE, HOLE, 1)),
    *_calls("pread64", (FILE, M, 6, 0), (FILE, M, 100, 40), (FILE, M, 33, 0)),
    *_calls("fstat", (FILE, M), (FILE, 0)),
    *_calls("lseek", (FILE, 3, 0), (FILE, 1 << 40, 0)),
    *_calls("getdents64", (FILE, M, 100), (99, M, 100), (-1, 0, -1), (DIR, M, 20), (DIR, HOLE, 100), (DIR, M, 24),
            (DIR, M, 4096), (DIR, M, 4096), (DIR, 0, 0)),
    *_calls("write", (FILE, M, 5), memory=b"hello"),
    Call("pipe", (M,)),
    *_calls("write", (99, M, 0), (99, M, 1), (99, M, 10), (99, M, 32), (99, M, 33), (99, M, 64), (99, 0, 1),
            (99, 0, 0), (99, HOLE, 4), (99, END - 4, 8), (99, END - 4, 4), (-1, M, -1), (99, NONE, 4),
            memory=b"a\x00b\x001\x009\x07\x08\t\n\v\f\r\x1b\\\"\x7f\x80\xff0z" + b"y" * 60),
    *_calls("pread64", (99, M, 10, 0), (99, M, 10, -1), (99, M, 10, 1 << 40)),
    *_calls("pwrite64", (99, M, 2, 7), (99, M, 40, -1), memory=b"hello"),
    *_calls("close", (99,), (-1,), (1 << 32 | 99,)),
    *_calls("dup", (99,), (-1,)),
    *_calls("dup2", (99, 3), (99, -1)),
    *_calls("dup3", (99, 3, 0), (99, 3, 0o2000000), (99, 3, 1), (99, 3, 0o2004000), (99, 99, 0x40000000)),
    *_calls("lseek", (99, 0, 0), (99, -1, 1), (99, 1 << 40, 2), (99, 0, 3), (99, 0, 4), (99, 0, 5), (99, 0, -1)),
    *_calls("pipe", (0,), (8,), (HOLE,)),
    *_calls("vmsplice", (99, M, 2, 0), (99, M, 1, 1), (99, M, 1, 15), (99, M, 1, 16), (99, M, 1, 0x21),
            (99, M, 0, 0), (99, 0, 0, 0), (99, 0, 1, 0), (99, HOLE, 1, 0), (99, M, 33, 0), (99, END - 16, 2, 0),
            (99, M, -1, 0), memory=words(M + 64, 5, 0, 0).ljust(64, b"\0") + b"hello"),
    *_calls("fsync", (99,), (-1,)),
    *_calls("fdatasync", (99,)),
    *_calls("syncfs", (99,)),
    *_calls("truncate", (M, 0), (M, -1), (M, 1 << 40), (0, 0), memory=_PATHS),
    *_calls("ftruncate", (99, 0), (99, -1), (99, 1 << 40)),
    *(Call("fallocate", (99, mode, 0, 4096)) for mode in (0, 1, 2, 3, 4, 8, 16, 32, 64, 128, 131, -1)),
    *_calls("fallocate", (99, 0, -1, -2), (99, 0, 1 << 40, 1 << 41)),
    *_calls("mkdir", (M, 0o755), (M, 0), (M, 0o1777), memory=_PATHS),
    *_calls("rmdir", (M,), (0,), memory=_PATHS),
    *_calls("unlink", (M,), (8,), memory=_PATHS),
    *_calls("unlinkat", (AT_FDCWD, M, 0), (99, M, 0x200), (AT_FDCWD, M, 0x300), (AT_FDCWD, M, 0x1000),
            (AT_FDCWD, M, -1), memory=_PATHS),
    *(Call("chmod", (M, mode), _PATHS) for mode in _MODES),
    *_calls("fchmod", (99, 0o644), (99, -1)),
    *_calls("umask", (0o22,), (0,), (0o22,), (0o777,), (0o22,)),
    *_calls("stat", (M, M + 64), (M + 32, M + 64), memory=b"gone".ljust(32, b"\0") + b"/\0"),
    *_calls("stat", (M, M + 64), (M, 0), (M, HOLE), memory=b"/dev/null\0"),
    *_calls("stat", (M, M + 64), memory=b"/etc/passwd\0"),
    *_calls("stat", (M, M + 64), memory=b"/tmp\0"),
    *_calls("stat", (M, M + 64), memory=b"/dev/vda\0"),
    *_calls("lstat", (M, M + 64), memory=b"/proc/self\0"),
    *_calls("lstat", (0, 0), (M, M + 64), memory=b"gone\0"),
    *_calls("fstat", (99, M), (99, 0), (-1, M)),
    *(Call("newfstatat", (AT_FDCWD, M, M + 64, flags), b"/dev/null\0") for flags in (0, 0x100, 0x200, 0x400,
            0x800, 0x1000, 0x1100, 0x2000, 0x6000, 0x8000, 0x10000, -1)),
    *_calls("newfstatat", (99, M, M + 64, 0), (AT_FDCWD, 0, 0, 0), (-1, M, HOLE, 0), memory=b"gone\0"),
    *(Call("memfd_create", (M, flags), b"name\0") for flags in (0, 1, 2, 3, 4, 8, 16, 32, 64, -1, 21 << 26 | 4,
            30 << 26 | 5, 63 << 26)),
    *_calls("memfd_create", (0, 0), (8, 1), (M, 1 << 20)),
    *(Call("memfd_create", (M, 32), b"n" * size + b"\0") for size in (31, 32, 33, 248, 249, 250, 251, 300)),
]  # fmt: skip

_MOUNT = _text("none", "gone", "tmpfs", "size=1M")
_MOUNT_FLAGS = (0, 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000, 0x5000,
          0x8000, 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 23, 1 << 24, 1 << 25, 1 << 26,
          1 << 28, 1 << 30, 0x80000000, 0xC0ED0000, 0xC0ED0001, 0xC0ED1021, 0x22, 1 << 40, -1)  # fmt: skip

SYSTEM = [
    *(Call("mount", (M, M + 64, M + 128, flags, M + 192), _MOUNT) for flags in _MOUNT_FLAGS),
    *_calls("mount", (0, M + 64, 0, 0x21, 0), (0, 0, 0, 0, 0), (M, M + 64, M + 128, 0, 0),
            (M, 8, M + 128, 0, HOLE), (HOLE, HOLE, HOLE, 0, HOLE), memory=_MOUNT),
    *(Call("umount2", (M + 64, flags), _MOUNT) for flags in (0, 1, 2, 4, 7, 8, 16, 17, -1)),
    *(Call("swapon", (M + 64, flags), _MOUNT) for flags in (0, 1, 0x7FFF, 0x8000, 0x8005, 0x10000, 0x20000,
            0x40000, 0x7FFFF, 0x80000, 0xFFFFF, -1)),
    *_calls("swapoff", (M + 64,), (0,), memory=_MOUNT),
    Call("sync", ()),
]  # fmt: skip

_EVERY_CLOCK = (*range(14), 15, 16, -1, -6, -2, -14, 100)

PROCESSES = [
    *(Call(name, ()) for name in ("sched_yield", "getuid", "getgid", "geteuid", "getegid")),
    *_calls("nanosleep", (M, 0), (M, M + 64), (0, 0), (HOLE, M), memory=words(0, 1000)),
    *_calls("nanosleep", (M, M + 64), memory=words(0, 1 << 40)),
    *_calls("nanosleep", (M, M + 64), memory=words(-1, -1)),
    *(Call("clock_gettime", (clock, M)) for clock in _EVERY_CLOCK),
    *_calls("clock_gettime", (1, 0), (1, HOLE)),
    *_calls("wait4", (-1, M, 0, 0), (-1, 0, 1, 0), (NOBODY, M, 1, M + 64), (0, M, 3, 0), (-5, M, 0, 0),
            (-(1 << 31), M, 0, 0), *((-1, M, options, 0) for options in (2, 4, 8, 11, 0x10, 0x01000000,
            0x20000000, 0x40000000, 0x80000000, 0xE000000B, -1))),
    *(Call("kill", (NOBODY, sig)) for sig in (*range(36), 63, 64, 65, 100, -1)),
    Call("kill", (0, 0)),
    *_calls("getrlimit", *((resource, M) for resource in (*range(17), -1)), (8, HOLE), (8, 0)),
    *(Call("setrlimit", (99, M), words(*pair)) for pair in ((0, 1), (1024, 2048), (1025, 4096), (-1, -1),
            (1 << 33, 1 << 63))),
    *_calls("setrlimit", (4, HOLE), (8, 0), (4, 8)),
    *(Call("setrlimit", (4, M), words(*pair)) for pair in ((2, 1), (0x7FFFFFFFFFFFFFFF, 1))),
    *_calls("prlimit64", (0, 8, 0, M), (0, 99, M, M + 64), (NOBODY, 7, M, M + 64), (0, 4, M, M + 64),
            (0, 4, 0, 0), (0, 4, HOLE, M), memory=words(0, -1)),
    *_calls("prlimit64", (NOBODY, 3, M, 0), memory=words(8 << 20, -2)),
    *_calls("getrusage", *((who, M) for who in (0, -1, 1, 2, -2, 99)), (0, HOLE), (0, 0)),
    *_calls("setuid", (0,), (-1,), (1 << 32,)),
    *_calls("setgid", (0,), (-1,)),
    *_calls("setreuid", (0, 0), (-1, -1), (0, -1)),
    *_calls("setregid", (0, 0), (-1, -1)),
    *_calls("setresuid", (0, 0, 0), (0, -1, 0), (-1, -1, -1)),
    *_calls("setresgid", (0, 0, 0), (0, -1, 0)),
    *_calls("getresuid", (M, M + 4, M + 8), (M, 0, M + 8), (HOLE, M, M)),
    *_calls("getresgid", (M, M + 4, M + 8), (0, M + 4, M + 8)),
    *(Call("capget", (M, M + 64), words(version, pid, size=4)) for version, pid in ((0x20080522, 0),
            (0x20071026, 0), (0x19980330, 0), (0, 0), (0x20080522, NOBODY), (99, 5))),
    *_calls("capget", (M, 0), (0, 0), (HOLE, M), (M, HOLE), memory=words(0x20080522, 0, size=4)),
    *(Call("capset", (M, M + 64), words(version, NOBODY, size=4).ljust(64, b"\0") + words(*data,
            size=4)) for version in (0x20080522, 0x19980330, 7) for data in ((0, 0, 0, 0, 0, 0),
            (1, 3, 0, 0, 0, 0), (-1, -1, -1, 0x1FF, 0x1FF, 0x1FF), (0x800000, -1, 0, 0, -1, 1 << 31))),
    *_calls("capset", (0, 0), (M, 0), (M, HOLE), memory=words(0x20080522, NOBODY, size=4)),
    *_calls("sched_setaffinity", (NOBODY, 8, M), (NOBODY, 4, M), (NOBODY, 1, M), (NOBODY, 128, M), (NOBODY, 0, M),
            (NOBODY, 8, 0), (NOBODY, 8, HOLE), (NOBODY, 9, M), (-1, 8, M), (NOBODY, 8, END - 4), (NOBODY, -1, M),
            memory=words(0x8000000000000005, 2, 1)),
    *(Call("sched_setaffinity", (NOBODY, 16, M), words(*mask)) for mask in ((0, 0), (-1, -1), (0xF0, 0), (3, 1))),
    *_calls("sched_getaffinity", (0, 128, M), (0, 8, M), (0, 4, M), (NOBODY, 128, M), (0, 128, HOLE), (0, 128, 0),
            (0, 0, M), (0, 7, M)),
    *_calls("getcpu", (M, M + 4, 0), (0, 0, 0), (M, 0, 0), (0, M, 0), (HOLE, M, 0), (M, HOLE, 0),
            (M, M + 4, M + 8), (0, 0, 8)),
]  # fmt: skip

_EVERY_CLONE_FLAG = -1 & 0xFFFFFF00

TASKS = [
    *_calls("clone", (_EVERY_CLONE_FLAG | 17, 0, 0, 0, 0), (0x10000, 0, 0, 0, 0), (0x800, M, M, M, M),
            (0x10F00 ^ 0x100, 8, 0, 0, 0), (0x1000000 ^ 0x811, M, M, M + 4, M + 8), (0x811, 0, 0, 0, 0),
            (0x10811, 0, 0, 0, 0), (0x80000800 | 65, 0, 0, 0, 0), (1 << 33 | 0x800, 0, 0, 0, 0),
            (2 << 32 | 0x800, M, 0, 0, 0), (0x80800, M, 0, 0, 0), (0x100800, M, M, M, 0), (0x200800, M, M, M, 0)),
    *(Call("clone3", (M, 88), words(*fields)) for fields in ((0x10000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            (0x800, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), (0x1380800, M, M, M, 17, P, 4096, M, 0, 0, 0),
            (0x10800, 0, 0, 0, 99, 0, 0, 0, M, 1, 5), (0x300000800, M, M, M, 17, P, 4096, M, 0, 0, 5))),
    *(Call("clone3", (M, size), words(0x10000, *[0] * 12)) for size in (0, 8, 64, 80, 96, 4097)),
    *_calls("clone3", (0, 88), (HOLE, 88), (8, 0)),
    *(Call("execve", (M, argv, envp), _text("gone") + words(M, M, 0).ljust(64, b"\0") + words(M, HOLE,
            0) + bytes(40) + words(HOLE, 0)) for argv, envp in ((0, 0), (M + 64, 0), (M + 64, M + 64),
            (M + 80, M + 80), (M + 128, M + 128), (HOLE, HOLE), (M + 192, 0))),
    Call("execve", (M, M + 64, M + 64), _text("gone") + words(*[M] * 40)),
    Call("execve", (M, M + 64, M + 64), _text("gone") + words(*[M] * 32)),
    *_calls("execve", (0, 0, 0), (8, 8, 8), (HOLE, M, M), (M, END - 8, END - 8), (M, END - 4, END - 4)),
    *_calls("execve", (M, M + 8, M + 8), (M, END - 16, END - 16),
            memory=words(M, M, 0).ljust(PAGE - 16, b"\0") + words(M, M)),
]  # fmt: skip

_OPTIONS = (0, 2, 3, 5, 7, *range(8, 17), 17, 18, 19, 20, 21, 25, 27, 30, 31, 32, 34, 37, 39, 40, 41, 42, 73, 999,
          -1)  # fmt: skip

PRCTL = [
    *(Call("prctl", (option, HOLE, 2, 3, 4)) for option in _OPTIONS),
    *_calls("prctl", (3, 0, 0, 0, 0), (4, 0), (4, 1), (4, 2), (4, 3), (4, -1), (4, 1), (3,), (7,), (8, 0), (8, 1),
            (8, 0), (8, 2), (7, 1, 2, 3, 4)),
    *_calls("prctl", (15, M), (16, M), (16, HOLE), (15, HOLE), (15, 0), memory=b"abc\0"),
    *_calls("prctl", (15, M), (16, M), memory=b"fifteen letters\0"),
    *_calls("prctl", (15, M), (16, M), memory=b"sixteen letters!\0"),
    *_calls("prctl", (15, M), memory=b"more than sixteen letters\0"),
]  # fmt: skip

UNKNOWN = [Call(number, (1, 2)) for number in (999, 0x7FFFFFFF, 600)]

CALLS = [
    *MBIND, *SET_MEMPOLICY, *GET_MEMPOLICY, *MIGRATION, *MEMORY, *FILES, *SYSTEM, *PROCESSES, *TASKS, *PRCTL,
            *UNKNOWN,
]  # fmt: skip
