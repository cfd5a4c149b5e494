"""KernelError: how every floor says "the kernel answers -E...".

Mirrors include/uapi/asm-generic/errno*.h. Deliberately different: Linux returns negative numbers through every caller;
here the error is an exception that falls straight to the border, where one epilogue turns it back into `-errno`.

The numbers are those of Python's `errno` module on Linux. The few names that the module lacks are defined here, since
the kernel returns them although no C library knows them.
"""

import os
from errno import (
    E2BIG,
    EACCES,
    EADDRINUSE,
    EAGAIN,
    EBADF,
    EBUSY,
    ECHILD,
    EDOM,
    EEXIST,
    EFAULT,
    EFBIG,
    EINTR,
    EINVAL,
    EIO,
    EISDIR,
    ELOOP,
    EMFILE,
    EMLINK,
    ENAMETOOLONG,
    ENFILE,
    ENODATA,
    ENODEV,
    ENOENT,
    ENOEXEC,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    ENOTBLK,
    ENOTDIR,
    ENOTEMPTY,
    ENOTTY,
    ENXIO,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    EPIPE,
    ERANGE,
    EROFS,
    ESPIPE,
    ESRCH,
    ETXTBSY,
    EXDEV,
    errorcode,
)

__all__ = [
    "E2BIG", "EACCES", "EADDRINUSE", "EAGAIN", "EBADF", "EBUSY", "ECHILD", "EDOM", "EEXIST", "EFAULT", "EFBIG",
    "EHWPOISON", "EINTR", "EINVAL", "EIO", "EISDIR", "ELOOP", "EMFILE", "EMLINK", "ENAMETOOLONG", "ENFILE", "ENODATA",
    "ENODEV", "ENOENT", "ENOEXEC", "ENOMEM", "ENOSPC", "ENOSYS", "ENOTBLK", "ENOTDIR", "ENOTEMPTY", "ENOTSUPP",
    "ENOTTY", "ENXIO", "EOPNOTSUPP", "EOVERFLOW", "EPERM", "EPIPE", "ERANGE", "EROFS", "ESPIPE", "ESRCH", "ETXTBSY",
    "EXDEV", "KernelError", "errno_name", "strerror",
]  # fmt: skip

ENOTSUPP = 524
"""include/linux/errno.h: an operation that a driver lacks. Never meant for programs, but some calls leak it."""

EHWPOISON = 133
"""A page with a hardware error; the errno module of older Pythons lacks it."""

_KERNEL_ONLY = {
    EHWPOISON: ("EHWPOISON", "Memory page has hardware error"),
    ENOTSUPP: ("ENOTSUPP", "Operation is not supported"),
}


def errno_name(errno: int) -> str:
    """`EINVAL` for 22; `errno 4095` for a number without a name. The sign does not matter."""
    number = abs(errno)
    if number in _KERNEL_ONLY:
        return _KERNEL_ONLY[number][0]
    # EAGAIN and EWOULDBLOCK, EOPNOTSUPP and ENOTSUP share numbers; the kernel's own spelling is wanted.
    if number == EAGAIN:
        return "EAGAIN"
    if number == EOPNOTSUPP:
        return "EOPNOTSUPP"
    return errorcode.get(number, f"errno {number}")


def strerror(errno: int) -> str:
    """The C library's sentence for an errno: `Invalid argument` for 22. The sign does not matter."""
    number = abs(errno)
    if number in _KERNEL_ONLY:
        return _KERNEL_ONLY[number][1]
    return os.strerror(number)


class KernelError(Exception):
    """The kernel refuses: a system call ends with `-errno`.

    errno: a positive number (`KernelError(EINVAL)`); a negative one, as Linux writes it, is accepted and turned round.
    why: one short clause for people (traces, the REPL); programs see only the number.
    """

    errno: int
    why: str

    def __init__(self, errno: int, why: str = "") -> None:
        super().__init__(errno, why)
        self.errno = abs(errno)
        self.why = why

    @property
    def name(self) -> str:
        """`EINVAL`."""
        return errno_name(self.errno)

    def __str__(self) -> str:
        return f"{self.name}: {self.why or strerror(self.errno)}"
