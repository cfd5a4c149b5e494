"""The tracer: lines in the order in which things happen to several tasks.

    [pid   100] wait4(-1,  <unfinished ...>
    [pid   101] exit_group(3)               = ?
    [pid   101] +++ exited with 3 +++
    <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 101
    --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=101, si_uid=0, si_status=3, si_utime=0, si_stime=0} ---

A call is begun on a line that stays open.  If something is to be said of another task first, the line is closed as
unfinished, and the rest of the call comes on a line of its own.  The pid is in front while there is more than one
task; in a file always.  A call that its task does not survive has the result `?`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from numalab.kernel.signal import SIGKILL, SigInfo
from numalab.kernel.task import Task
from numalab.syscalls.entry import SyscallEvent
from numalab.syscalls.strace.call import CallText
from numalab.syscalls.strace.signals import ending, siginfo
from numalab.syscalls.strace.summary import Summary
from numalab.syscalls.strace.trace_set import parse_trace_set
from numalab.syscalls.strace.view import is_error

__all__ = ["Options", "Strace"]

_COLUMN = 40
_FORKS = ("fork", "vfork", "clone", "clone3")


@dataclass(frozen=True)
class Options:
    """What strace's options say.

    trace: the calls that are traced (-e trace=).  lines: whether they are printed; summary: whether they are counted
    (-c only counts, -C does both).  wall: the summary goes by the clock, not by the CPU's time (-w).  to_file: the
    output is a file (-o): every line has a pid, and in the end it is closed.
    """

    trace: str = "all"
    lines: bool = True
    summary: bool = False
    wall: bool = False
    to_file: bool = False


@dataclass
class _Begun:
    """A call that has begun: its text, and when it began."""

    text: CallText
    began: int


class Strace:
    """Prints what the tasks of a machine do, to `out`. Raises ValueError for a trace set that is none."""

    def __init__(self, out: TextIO, options: Options) -> None:
        self._out = out
        self._options = options
        self._traced = parse_trace_set(options.trace)
        self._summary = Summary() if options.summary else None
        self._pids: set[int] = set()
        self._calls: dict[Task, _Begun] = {}
        self._ignored: dict[Task, list[SigInfo]] = {}  # signals to be told of when the task's call has ended
        self._leaders: set[Task] = set()  # ended before their threads: of the process it is said at its end
        self._printing: Task | None = None  # whose line is open
        self._column = 0
        self._error: OSError | None = None  # the output takes no more

    # What happens

    def on_syscall(self, event: SyscallEvent) -> None:
        """Called when a call begins and when it has ended."""
        self._pids.add(event.task.pid)
        if event.result is None:
            self._tell_ignored(event.task)
            if event.row is None or event.row.name in self._traced:
                self._begin(event)
        # A task that is about to die sees no result, and nor do we: `on_exit()` finishes the line.
        elif not _is_dying(event.task):
            self._end(event)
            self._tell_ignored(event.task)

    def on_signal(self, task: Task, info: SigInfo, ignored: bool) -> None:
        """Called when a task takes a signal, and when one is sent that it ignores: a traced task is told of both."""
        if ignored:
            self._ignored.setdefault(task, []).append(info)
        elif info.signo != SIGKILL:
            self._tell_ignored(task)
            self._line(task, siginfo(info))

    def on_exit(self, task: Task) -> None:
        """Called when a task has ended."""
        begun = self._calls.pop(task, None)
        if begun is not None and self._options.lines:
            self._resume(task, begun.text)
            self._write(" <unfinished ...>" if begun.text.open else "")
            self._finish("?")
        self._tell_ignored(task)
        leader, others = task.group_leader, [t for t in task.signal.threads if t is not task and t.alive]
        if task is leader and others:
            self._leaders.add(task)
            return
        self._gone(task, task.exit_code)
        if leader in self._leaders and not others:
            self._leaders.remove(leader)
            code = task.signal.group_exit_code
            self._gone(leader, leader.exit_code if code is None else code)

    def close(self) -> None:
        """The end of tracing: calls that have not ended are left, and the summary is printed.

        Raises OSError if the output could not be written.
        """
        if self._printing is not None:
            self._write(" <detached ...>\n")
        if self._summary is not None:
            for line in self._summary.lines():
                self._write(f"{line}\n")
        if self._options.to_file:
            self._out.close()
        if self._error is not None:
            raise self._error

    # Calls

    def _begin(self, event: SyscallEvent) -> None:
        task = event.task
        self._calls[task] = begun = _Begun(CallText(event), self._clock(event))
        if self._options.lines:
            self._start(task)
            self._write(begun.text.begun)
            self._printing = task

    def _end(self, event: SyscallEvent) -> None:
        task, result = event.task, event.result
        assert result is not None
        begun = self._calls.pop(task, None)
        if begun is not None:
            if self._summary is not None:
                time = self._clock(event) - begun.began
                self._summary.add(begun.text.name, event.number, time, failed=is_error(result))
            if self._options.lines:
                self._resume(task, begun.text)
                self._write(begun.text.rest())
                self._finish(begun.text.result())
        if event.row is not None and event.row.name in _FORKS and result > 0:
            self._attach(result)

    def _clock(self, event: SyscallEvent) -> int:
        if self._options.wall:
            return event.now
        return event.task.sum_exec_runtime + event.now - event.task.slice_start

    def _attach(self, pid: int) -> None:
        """There is a new task."""
        self._pids.add(pid)
        if not self._options.to_file:
            self._break_line()
            self._write(f"strace: Process {pid} attached\n")

    def _tell_ignored(self, task: Task) -> None:
        for info in self._ignored.pop(task, ()):
            self._line(task, siginfo(info))

    def _gone(self, task: Task, code: int) -> None:
        self._line(task, ending(code))
        self._pids.discard(task.pid)

    # Lines

    def _line(self, task: Task, text: str) -> None:
        """A line that is no call's."""
        if self._options.lines:
            self._pids.add(task.pid)
            self._start(task)
            self._write(f"{text}\n")

    def _start(self, task: Task) -> None:
        """Begin a line about a task; one that is open is unfinished."""
        self._break_line()
        if self._options.to_file:
            self._write(f"{task.pid:<5} ")
        elif len(self._pids) > 1:
            self._write(f"[pid {task.pid:5}] ")

    def _break_line(self) -> None:
        if self._printing is not None:
            self._write(" <unfinished ...>\n")
            self._printing = None

    def _resume(self, task: Task, text: CallText) -> None:
        """Go on with a call, on its own line if that is still open."""
        if self._printing is not task:
            self._start(task)
            self._write(f"<... {text.name} resumed>")
        self._printing = None

    def _finish(self, result: str) -> None:
        """The end of a call's line."""
        self._write(")")
        self._write(f"{' ' * max(1, _COLUMN - self._column)}= {result}\n")

    def _write(self, text: str) -> None:
        # A disk that is full is no fault of the task's: the run goes on, and whoever ends the tracing is told.
        if self._error is None:
            try:
                self._out.write(text)
            except OSError as error:
                self._error = error
        self._column = 0 if text.endswith("\n") else self._column + len(text)


def _is_dying(task: Task) -> bool:
    return task.signal.group_exit_code is not None or SIGKILL in task.signal.pending
