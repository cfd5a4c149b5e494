"""`sys`: what a program is given to act on its machine.

A program is a Python function `main(sys)`.  Every system call is a method by its Linux name, taking the man page's
arguments (see `marshal.py` for what they may be) and returning an int or raising OSError; `sys.syscall()` is the
raw form.  Loads and stores are `sys.memory`.  What C programs get from their language and Python cannot copy, a
function as a new process, is `sys.fork(child)`, `sys.clone(child)` and `sys.execve(program)`.

A `sys` belongs to one task and works only while that task runs.

What a program meets, and never another exception of the kernel's:

    OSError          the call was refused; .errno says why
    TypeError, ...   a Python mistake in the arguments; no call was made
    its own end      exit, a fatal signal, a bad access: the Python frames are unwound, nothing after it runs
"""

from __future__ import annotations

import inspect
import operator
import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from types import MethodType
from typing import Any, NoReturn

from numalab.arch.errno import EINVAL, KernelError, strerror
from numalab.kernel.exec import begin_new_exec
from numalab.kernel.fork import CLONE_FILES, CLONE_SIGHAND, CLONE_THREAD, CLONE_VM, Program, copy_process
from numalab.kernel.fs.file import O_RDONLY
from numalab.kernel.signal import NSIG, SIGCHLD, SIGKILL, SIGSTOP, Disposition, Handler
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm.mman import MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE
from numalab.syscalls.entry import check_alive, do_syscall
from numalab.syscalls.libc import Libc
from numalab.syscalls.marshal import Answer, Bound, bind
from numalab.syscalls.memory import UserMemory
from numalab.syscalls.readdir import dirents
from numalab.syscalls.scratch import Scratch
from numalab.syscalls.table import BY_NAME

__all__ = ["Main", "Sys", "check_program", "current", "program_of"]

Main = Callable[..., object]
"""`main(sys, *args)`. An int it returns is the exit status; anything else means 0."""

_PAGE = 4096

# Every program has a greenlet of its own, and every greenlet a context of its own.
_current: ContextVar[Sys] = ContextVar("_current")


class ExecImage(BaseException):
    """Unwinds the program that called execve(); the new one starts where the old one began."""

    def __init__(self, sys: Sys, main: Main, args: tuple[object, ...]) -> None:
        super().__init__()
        self.sys, self.main, self.args_ = sys, main, args


class Sys:
    """The system calls of one program, and its memory.

    argv: the arguments of the program.  memory: its loads and stores.  task: what the kernel keeps of it.
    """

    def __init__(self, k: Kernel, task: Task, argv: list[str], parent: Sys | None = None) -> None:
        self.argv = argv
        self.task = task
        self.memory = UserMemory(k, task)
        self._k = k
        self._scratch: Scratch = Scratch(k, task, self.memory, parent._scratch if parent else None)
        self._replaced: ExecImage | None = None

    def __repr__(self) -> str:
        return f"<Sys of {self.task!r}>"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *BY_NAME})

    # The raw entry

    def syscall(self, number: int, *args: int) -> int:
        """One system call by number. Arguments are any ints, taken modulo 2**64; missing ones are 0.

        Returns what the call returns. Raises OSError with its errno. Exit does not return.
        """
        return self._result(self.raw(number, *args))

    def raw(self, number: int, *args: int) -> int:
        """The same without OSError: -errno is returned, as the instruction leaves it in the register."""
        self._check()
        registers = tuple(operator.index(arg) for arg in args)
        return do_syscall(self._k, self.task, operator.index(number), registers)

    def _result(self, result: int) -> int:
        if -4095 <= result < 0:
            raise OSError(-result, strerror(result))
        return result

    def _check(self) -> None:
        if self._replaced is not None:
            raise self._replaced
        check_alive(self._k, self.task)

    def lend(self, *items: bytes | int) -> list[int]:
        """Addresses for what a call needs in memory: bytes are stored, an int asks for so many bytes of room.

        They hold until the next call by name. Errors: ENOMEM.
        """
        self._check()
        try:
            return self._scratch.place(*items)
        except KernelError as error:
            raise OSError(error.errno, strerror(error.errno)) from None

    # Calls by name

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        """A system call by its name. Raises AttributeError for one that is not in the table."""
        if name not in BY_NAME:
            raise AttributeError(f"there is no system call {name!r}: docs/syscalls.md lists them")
        return MethodType(_method(name), self)

    def _call(self, bound: Bound) -> Answer:
        """Put what the pointers need into the scratch area, make the call, and pick up what it filled in."""
        self._check()
        addresses = self.lend(*(slot.item for slot in bound.slots)) if bound.slots else []
        for slot, address in zip(bound.slots, addresses, strict=True):
            bound.registers[slot.index] = address
        result = self._result(self.raw(bound.row.number, *bound.registers))
        outputs = {}
        # A call that failed has filled in nothing that could be trusted; OSError has been raised above.
        for slot, address in zip(bound.slots, addresses, strict=True):
            if slot.read is not None:
                size = len(slot.item) if isinstance(slot.item, bytes) else min(result, slot.item)
                outputs[bound.name(slot)] = slot.read(self.memory.read(address, size))
        return Answer(result, outputs)

    # Those whose arguments are friendlier in another order

    def mmap(
        self,
        length: int,
        prot: int = PROT_READ | PROT_WRITE,
        flags: int | None = None,
        fd: int = -1,
        off: int = 0,
        addr: int = 0,
    ) -> int:
        """mmap(2), the length first. Returns the address.

        By default private memory that can be read and written, or with a descriptor a mapping that shares its file.
        """
        if flags is None:
            flags = MAP_PRIVATE | MAP_ANONYMOUS if fd == -1 else MAP_SHARED
        return self.syscall(BY_NAME["mmap"].number, addr, length, prot, flags, fd, off)

    def brk(self, addr: int = 0) -> int:
        """brk(2): move the end of the heap (0 = only ask). Returns where it is now."""
        return self.syscall(BY_NAME["brk"].number, addr)

    def open(self, path: str | bytes | int, flags: int = O_RDONLY, mode: int = 0o666) -> Answer:
        """open(2); a file that it makes can be read and written by everyone whom the umask does not keep out."""
        return self._call(bind(BY_NAME["open"], (path, flags, mode), {}))

    def read(self, fd: int, count: int) -> Answer:
        """read(2) into the scratch area; the bytes are `.buf`."""
        return self._call(bind(BY_NAME["read"], (fd,), {"count": count}))

    def getdents64(self, fd: int, count: int) -> Answer:
        """getdents64(2) into the scratch area; the bytes are `.dirent`, the names dirents() of them."""
        return self._call(bind(BY_NAME["getdents64"], (fd,), {"count": count}))

    def pread64(self, fd: int, count: int, pos: int) -> Answer:
        """pread(2) into the scratch area; the bytes are `.buf`."""
        return self._call(bind(BY_NAME["pread64"], (fd,), {"count": count, "pos": pos}))

    def exit(self, status: int = 0) -> NoReturn:
        """exit_group(2): end the process."""
        self.raw(BY_NAME["exit_group"].number, status)
        raise AssertionError("exit returned")

    # What only the kernel can do for a Python program

    def fork(self, child: Main, *args: object) -> int:
        """fork(2): a new process that runs `child(sys, *args)` on a copy-on-write copy of this one's memory.

        Returns its pid. Errors: EAGAIN, ENOMEM.
        """
        return self._clone("fork", SIGCHLD, child, args)

    def clone(
        self,
        child: Main,
        *args: object,
        flags: int = CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD,
    ) -> int:
        """clone(2): a new task that runs `child(sys, *args)`; by default a thread of this process, sharing its memory.

        Returns its tid. Errors: EINVAL (flags that do not go together), EAGAIN, ENOMEM.
        """
        return self._clone("clone", flags, child, args)

    def _clone(self, name: str, flags: int, child: Main, args: tuple[object, ...]) -> int:
        def program(task: Task) -> object:
            return _run_image(Sys(self._k, task, list(self.argv), self), child, args)

        def handler(k: Kernel, task: Task, *registers: int) -> int:
            return copy_process(k, task, program, flags).pid

        self._check()
        check_program(child)
        return self._result(do_syscall(self._k, self.task, BY_NAME[name].number, (flags,), handler))

    def execve(self, program: Main, *args: object, argv: list[str] | None = None) -> NoReturn:
        """execve(2): replace the memory by a new one and run `program(sys, *args)` instead of what runs now.

        Policy, affinity, ids and open files stay. Errors: ENOMEM, EAGAIN (several threads).
        """

        def handler(k: Kernel, task: Task, *registers: int) -> int:
            begin_new_exec(k, task, _comm(program))
            return 0

        self._check()
        check_program(program)
        self._result(do_syscall(self._k, self.task, BY_NAME["execve"].number, (), handler))
        new = Sys(self._k, self.task, list(self.argv) if argv is None else argv)
        self._replaced = ExecImage(new, program, args)
        raise self._replaced

    def signal(self, sig: int, action: Disposition | Handler) -> Disposition | Handler:
        """signal(2): SIG_DFL, SIG_IGN, or a function `handler(signo, info)`. Returns what was there before.

        A handler that raises leaves the interrupted call or access by its exception, as siglongjmp() does; after one
        that returns from SIGSEGV or SIGBUS the access is tried again.
        Errors: EINVAL (no such signal, or one that cannot be handled).
        """
        self._check()
        if not isinstance(action, Disposition) and not callable(action):
            raise TypeError(f"a signal's action is SIG_DFL, SIG_IGN or a function, not {action!r}")
        if not 1 <= sig <= NSIG or sig in (SIGKILL, SIGSTOP):
            raise OSError(EINVAL, strerror(EINVAL))
        actions = self.task.sighand.action
        before = actions.get(sig, Disposition.SIG_DFL)
        actions[sig] = action
        return before

    # Conveniences

    @property
    def libc(self) -> Libc:
        """The C library as ctypes has it on a host: for programs that make their calls through ctypes."""
        return Libc(lambda work: work(self))

    def wait(self, pid: int = -1, options: int = 0) -> tuple[int, int]:
        """wait4(2): (pid, status), the status being 0..255 or -signum for a death by signal."""
        answer = self.wait4(pid, options=options)
        return int(answer), os.waitstatus_to_exitcode(answer.status) if answer else 0

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.nanosleep(float(seconds))

    def read_file(self, path: str) -> str:
        """All of a file, as text."""
        fd = self.open(path)
        try:
            pieces = []
            while answer := self.read(fd, 16 * _PAGE):
                pieces.append(answer.buf)
        finally:
            self.close(fd)
        return b"".join(pieces).decode("utf-8", "replace")

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, without `.` and `..`."""
        fd = self.open(path, flags=os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = []
            while answer := self.getdents64(fd, count=_PAGE):
                names += dirents(answer.dirent)
        finally:
            self.close(fd)
        return [name for name in names if name not in (".", "..")]

    def write_file(self, path: str, text: str) -> int:
        """Write text to a file with one write(2); returns the bytes taken."""
        fd = self.open(path, flags=os.O_WRONLY)
        try:
            return self.write(fd, text)
        finally:
            self.close(fd)


@cache
def _method(name: str) -> Callable[..., Answer]:
    """The method for a call that needs no special one."""
    row = BY_NAME[name]

    def call(self: Sys, *args: Any, **named: Any) -> Answer:
        return self._call(bind(row, args, named))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = row.handler.__doc__ if row.handler is not None else row.note
    return call


def check_program(main: Main) -> None:
    """Raises TypeError for what cannot be a program: calling an async function or a generator runs nothing of it."""
    if not callable(main):
        raise TypeError(f"a program is a function, not {main!r}")
    tests = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    # An object that can be called is what its class says.
    if any(test(function) for test in tests for function in (main, type(main).__call__)):
        raise TypeError(f"{_comm(main)}() is async or a generator: a program is a plain function")


def _comm(main: Main) -> str:
    """The name that /proc shows for a program."""
    return str(getattr(main, "__name__", "python"))


def _run_image(sys: Sys, main: Main, args: tuple[object, ...]) -> object:
    """Run a program, and whatever it replaces itself with by execve()."""
    while True:
        _current.set(sys)
        try:
            return main(sys, *args)
        except ExecImage as image:
            sys, main, args = image.sys, image.main, image.args_


def current() -> Sys | None:
    """The `sys` of the program that asks, None for whoever is no program."""
    return _current.get(None)


def program_of(k: Kernel, main: Main, argv: list[str]) -> Program:
    """What the kernel runs for `main(sys)` spawned from outside. Raises TypeError for what is no program."""
    check_program(main)
    return lambda task: _run_image(Sys(k, task, argv), main, ())
