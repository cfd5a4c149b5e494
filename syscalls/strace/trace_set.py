"""Which calls are traced: what `-e trace=SET` says.

A set is `mbind,move_pages`; or a group, `%memory` (or `memory`, as strace still takes it); or all whose name a regular
expression finds, `/^sched_`; or `all`, or `none`; or several of these between commas.  `!%file` are all but these, and
`?ioctl` is a name that may be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from numalab.syscalls.table import BY_NAME, BY_NUMBER

__all__ = ["GROUPS", "parse_trace_set"]

# strace's groups, as far as their calls are in the table.
GROUPS = {
    name: frozenset(calls.split())
    for name, calls in {
        "clock": "clock_gettime",
        "creds": "getuid getgid setuid setgid geteuid getegid setreuid setregid setresuid getresuid setresgid "
        "getresgid capget capset prctl",
        "desc": "read write open close fstat lseek mmap pread64 pwrite64 pipe dup dup2 fsync fdatasync ftruncate creat "
        "fchmod getdents64 openat newfstatat unlinkat vmsplice fallocate dup3 syncfs memfd_create pidfd_open "
        "process_madvise",
        "file": "open stat lstat execve truncate mkdir rmdir creat unlink chmod mount umount2 swapon swapoff openat "
        "newfstatat unlinkat",
        "fstat": "fstat newfstatat",
        "lstat": "lstat",
        "memory": "mmap mprotect munmap brk mremap msync mincore madvise mlock munlock mlockall munlockall mbind "
        "set_mempolicy get_mempolicy migrate_pages move_pages mlock2 set_mempolicy_home_node",
        "process": "clone fork vfork execve exit wait4 kill exit_group clone3",
        "pure": "getpid getuid getgid geteuid getegid getppid gettid",
        "signal": "kill",
        "stat": "stat",
        "%stat": "stat fstat lstat newfstatat",
    }.items()
}


def parse_trace_set(text: str) -> frozenset[str]:
    """The names of the calls that are traced. Raises ValueError, in one line, for what is no set."""
    negated = text.startswith("!")
    names: frozenset[str] = frozenset()
    words = [word.strip() for word in text.removeprefix("!").split(",")]
    if not any(words):
        raise ValueError("trace set is empty: give calls, groups such as %memory, all or none")
    for word in filter(None, words):
        names |= _named(word)
    return frozenset(BY_NAME) - names if negated else names


def _named(word: str) -> frozenset[str]:
    """The calls that one word of a set stands for."""
    optional = word.startswith("?")
    word = word.removeprefix("?")
    if word == "all":
        return frozenset(BY_NAME)
    if word == "none":
        return frozenset()
    if word.startswith("/"):
        return frozenset(_matching(word[1:]))
    if word in BY_NAME:
        return frozenset({word})
    if word.isdecimal() and int(word) in BY_NUMBER:
        return frozenset({BY_NUMBER[int(word)].name})
    group = word.removeprefix("%")
    if group in GROUPS and (word != group or not group.startswith("%")):
        return GROUPS[group]
    if optional:
        return frozenset()
    if word.startswith("%"):
        groups = ", ".join(f"%{name}" for name in GROUPS)
        raise ValueError(f"{word!r} is no group of system calls: use {groups}")
    raise ValueError(f"{word!r} is no system call of this machine: docs/syscalls.md lists them")


def _matching(expression: str) -> Iterable[str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ValueError(f"{'/' + expression!r} is no regular expression: {error}") from None
    return filter(pattern.search, BY_NAME)
