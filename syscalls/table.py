"""The system call table, as data.

Mirrors arch/x86/entry/syscalls/syscall_64.tbl.  One row says all there is to know of a call: number, name,
arguments, handler, how much of it works, and what a program should know that the man page does not say.
Dispatch, the tracer, `sys.NAME` and docs/syscalls.md are all made from these rows.

To add a call: write its handler in the file of its family, add a row here (`kinds.py` explains the arguments), and
write docs/syscalls.md anew.  A row with a note is *partial*: the note says what is missing or different.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numalab.syscalls import (
    cred,
    file,
    memfd,
    mempolicy,
    mman,
    mount,
    namei,
    pidfd,
    prctl,
    process,
    readdir,
    sched,
    splice,
    stat,
    swap,
    time,
)
from numalab.syscalls.kinds import Arg, parse_args

__all__ = ["BY_NAME", "BY_NUMBER", "TABLE", "Support", "Syscall"]


class Support(enum.StrEnum):
    """How much of a call works. NONE: the row only says why there is none; the call is ENOSYS."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Syscall:
    """One row. The handler is called as `handler(kernel, task, *args)` with one int for each of `args`."""

    number: int
    name: str
    args: tuple[Arg, ...]
    handler: Callable[..., int] | None
    support: Support
    note: str


def _row(number: int, name: str, args: str, handler: Callable[..., Any] | None, note: str = "") -> Syscall:
    if handler is None:
        support = Support.NONE
    else:
        support = Support.PARTIAL if note else Support.FULL
    return Syscall(number, name, parse_args(args), handler, support, note)


_NO_FRAME = "a Python frame cannot be copied: `sys.fork(child, *args)` does it"

TABLE: tuple[Syscall, ...] = (
    _row(0, "read", "fd:fd buf:buf_out@count count:size", file.read),
    _row(1, "write", "fd:fd buf:buf@count count:size", file.write),
    _row(2, "open", "path:path flags:open_flags mode:open_mode", file.open_,
         "no O_PATH, no O_TMPFILE"),
    _row(3, "close", "fd:fd", file.close),
    _row(4, "stat", "path:path statbuf:stat_out", stat.stat, "one time: that of the last change"),
    _row(5, "fstat", "fd:fd statbuf:stat_out", stat.fstat, "as stat"),
    _row(6, "lstat", "path:path statbuf:stat_out", stat.lstat, "as stat"),
    _row(8, "lseek", "fd:fd offset:long whence:whence", file.lseek, "neither SEEK_DATA nor SEEK_HOLE"),
    _row(9, "mmap", "addr:addr length:size prot:prot flags:map_flags fd:fd offset:hex", mman.mmap,
         "huge pages are of 2 MiB, no MAP_DROPPABLE"),
    _row(10, "mprotect", "addr:addr length:size prot:prot", mman.mprotect),
    _row(11, "munmap", "addr:addr length:size", mman.munmap),
    _row(12, "brk", "brk:addr", mman.brk),
    _row(17, "pread64", "fd:fd buf:buf_out@count count:size pos:long", file.pread64),
    _row(18, "pwrite64", "fd:fd buf:buf@count count:size pos:long", file.pwrite64),
    _row(22, "pipe", "fds:pipe_out", splice.pipe, "a write takes a page at most"),
    _row(24, "sched_yield", "", sched.sched_yield),
    _row(25, "mremap", "addr:addr old_len:size new_len:size flags:mremap_flags new_addr:mremap_addr", mman.mremap),
    _row(26, "msync", "addr:addr length:size flags:ms_flags", mman.msync),
    _row(27, "mincore", "addr:addr length:size vec:vec_out@length", mman.mincore),
    _row(28, "madvise", "addr:addr length:size advice:advice", mman.madvise,
         "advice for KSM and memory failure is EINVAL"),
    _row(32, "dup", "fd:fd", file.dup),
    _row(33, "dup2", "fd:fd new:fd", file.dup2),
    _row(35, "nanosleep", "request:timespec remain:remain_out", time.nanosleep, "virtual time"),
    _row(39, "getpid", "", process.getpid),
    _row(56, "clone", "flags:clone_flags stack:clone_arg parent_tid:clone_arg child_tid:clone_arg tls:clone_arg", None,
         "a Python frame cannot be copied: `sys.clone(child, *args, flags=...)` makes threads too"),
    _row(57, "fork", "", None, _NO_FRAME),
    _row(58, "vfork", "", None, _NO_FRAME),
    _row(59, "execve", "path:path argv:strings envp:environment", None,
         "there are no programs in files: `sys.execve(program, *args)` runs a Python function"),
    _row(60, "exit", "status:int", process.exit_),
    _row(61, "wait4", "pid:pid status:wstatus_out options:wait_options rusage:rusage_out", process.wait4,
         "nothing is ever stopped or continued"),
    _row(62, "kill", "pid:pid sig:signal", process.kill, "stop signals are ignored"),
    _row(74, "fsync", "fd:fd", file.fsync),
    _row(75, "fdatasync", "fd:fd", file.fdatasync),
    _row(76, "truncate", "path:path length:length", file.truncate),
    _row(77, "ftruncate", "fd:fd length:length", file.ftruncate),
    _row(83, "mkdir", "path:path mode:file_mode", namei.mkdir),
    _row(84, "rmdir", "path:path", namei.rmdir),
    _row(85, "creat", "path:path mode:file_mode", file.creat),
    _row(87, "unlink", "path:path", namei.unlink),
    _row(90, "chmod", "path:path mode:file_mode", namei.chmod),
    _row(91, "fchmod", "fd:fd mode:file_mode", namei.fchmod),
    _row(95, "umask", "mask:file_mode", namei.umask),
    _row(97, "getrlimit", "resource:resource rlim:rlimit_out", process.getrlimit),
    _row(98, "getrusage", "who:rusage_who usage:rusage_out", process.getrusage, "page faults; the rest is 0"),
    _row(102, "getuid", "", cred.getuid),
    _row(104, "getgid", "", cred.getgid),
    _row(105, "setuid", "uid:uid", cred.setuid),
    _row(106, "setgid", "gid:uid", cred.setgid),
    _row(107, "geteuid", "", cred.geteuid),
    _row(108, "getegid", "", cred.getegid),
    _row(110, "getppid", "", process.getppid),
    _row(113, "setreuid", "ruid:uid euid:uid", cred.setreuid),
    _row(114, "setregid", "rgid:uid egid:uid", cred.setregid),
    _row(117, "setresuid", "ruid:uid euid:uid suid:uid", cred.setresuid),
    _row(118, "getresuid", "ruid:uint_out euid:uint_out suid:uint_out", cred.getresuid),
    _row(119, "setresgid", "rgid:uid egid:uid sgid:uid", cred.setresgid),
    _row(120, "getresgid", "rgid:uint_out egid:uint_out sgid:uint_out", cred.getresgid),
    _row(125, "capget", "header:cap_header data:cap_data_out", cred.capget),
    _row(126, "capset", "header:cap_header data:cap_data", cred.capset),
    _row(149, "mlock", "addr:addr length:size", mman.mlock),
    _row(150, "munlock", "addr:addr length:size", mman.munlock),
    _row(151, "mlockall", "flags:mcl_flags", mman.mlockall),
    _row(152, "munlockall", "", mman.munlockall),
    _row(157, "prctl",
         "option:prctl_option arg2:prctl_arg arg3:prctl_arg arg4:prctl_arg arg5:prctl_arg", prctl.prctl,
         "PR_{SET,GET}_DUMPABLE, _NAME, _KEEPCAPS and _THP_DISABLE"),
    _row(160, "setrlimit", "resource:resource rlim:rlimit", process.setrlimit,
         "RLIMIT_MEMLOCK is enforced, others are kept only"),
    _row(162, "sync", "", file.sync),
    _row(165, "mount", "source:path target:path fstype:mount_type flags:mount_flags data:mount_data", mount.mount,
         "a tmpfs (size, nr_blocks, mode, uid, gid, mpol), the ext2 on a disk, or cgroup2"),
    _row(166, "umount2", "target:path flags:umount_flags", mount.umount2),
    _row(167, "swapon", "path:path flags:swap_flags", swap.swapon, "block devices; no header is read"),
    _row(168, "swapoff", "path:path", swap.swapoff),
    _row(186, "gettid", "", process.gettid),
    _row(203, "sched_setaffinity", "pid:pid length:uint mask:cpumask@length", sched.sched_setaffinity),
    _row(204, "sched_getaffinity", "pid:pid length:uint mask:cpumask_out@length", sched.sched_getaffinity),
    _row(217, "getdents64", "fd:fd dirent:dirents_out@count count:uint", readdir.getdents64),
    _row(228, "clock_gettime", "clock:clock tp:timespec_out", time.clock_gettime,
         "virtual time since boot, for both clocks"),
    _row(231, "exit_group", "status:int", process.exit_group),
    _row(237, "mbind",
         "addr:addr length:size mode:mpol_mode nodemask:nodemask@maxnode maxnode:ulong flags:mbind_flags",
         mempolicy.mbind),
    _row(238, "set_mempolicy", "mode:mpol_mode nodemask:nodemask@maxnode maxnode:ulong",
         mempolicy.set_mempolicy),
    _row(239, "get_mempolicy",
         "mode:mode_out nodemask:nodemask_out@maxnode maxnode:ulong addr:addr flags:getpol_flags",
         mempolicy.get_mempolicy),
    _row(256, "migrate_pages", "pid:pid maxnode:ulong old_nodes:nodemask@maxnode new_nodes:nodemask@maxnode",
         mempolicy.migrate_pages),
    _row(257, "openat", "dirfd:dirfd path:path flags:open_flags mode:open_mode", file.openat, "as open"),
    _row(262, "newfstatat", "dirfd:dirfd path:path statbuf:stat_out flags:at_flags", stat.newfstatat, "as stat"),
    _row(263, "unlinkat", "dirfd:dirfd path:path flags:at_flags", namei.unlinkat),
    _row(278, "vmsplice", "fd:fd iov:iovec@nr_segs nr_segs:ulong flags:splice_flags", splice.vmsplice, "into a pipe"),
    _row(279, "move_pages",
         "pid:pid count:ulong pages:pages@count nodes:nodes@count status:status_out@count flags:move_flags",
         mempolicy.move_pages),
    _row(285, "fallocate", "fd:fd mode:falloc_mode offset:long length:long", file.fallocate),
    _row(292, "dup3", "fd:fd new:fd flags:dup3_flags", file.dup3),
    _row(302, "prlimit64", "pid:pid resource:resource new:rlimit old:rlimit_out", process.prlimit64,
         "as setrlimit"),
    _row(306, "syncfs", "fd:fd", file.syncfs),
    _row(309, "getcpu", "cpu:uint_out node:uint_out unused:addr", sched.getcpu),
    _row(319, "memfd_create", "name:string flags:mfd_flags", memfd.memfd_create, "without seals and huge pages"),
    _row(325, "mlock2", "addr:addr length:size flags:mlock_flags", mman.mlock2),
    _row(434, "pidfd_open", "pid:pid flags:pidfd_flags", pidfd.pidfd_open, "not to be waited for"),
    _row(435, "clone3", "args:clone_args@size size:size", None, "as clone"),
    _row(440, "process_madvise", "pidfd:fd iov:remote_iovec@vlen vlen:ulong advice:advice flags:hex32",
         mman.process_madvise),
    _row(450, "set_mempolicy_home_node", "addr:addr length:size home_node:ulong flags:hex",
         mempolicy.set_mempolicy_home_node),
)  # fmt: skip

BY_NUMBER = {row.number: row for row in TABLE}
BY_NAME = {row.name: row for row in TABLE}
