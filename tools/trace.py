"""``numalab trace``, and ``trace`` in the shell: the events of the kernel while a program runs.

Events are chosen as with trace-cmd, ``-e SYSTEM``, ``-e EVENT`` or ``-e SYSTEM:EVENT``, with ``*`` for any letters. A
file whose name ends in ``.json`` is for ui.perfetto.dev, another is text as /sys/kernel/tracing/trace has it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from numalab.tools.errors import UsageError

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.kernel.trace.trace import Trace

__all__ = ["USAGE", "Tracing", "add_options", "tracing"]

USAGE = "trace on [-e EVENT].. [FILE], or trace off, or trace show"


class _Parser(ArgumentParser):
    """An ArgumentParser that raises what the shell prints in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; usage: {USAGE}")


def add_options(parser: ArgumentParser) -> None:
    """Let a parser take the choice of events."""
    parser.add_argument(
        "-e", dest="events", action="append", default=[], metavar="EVENT",
        help="record migrate, kmem:mm_page_alloc, 'sched_*' ... (again for more); by default all but one-a-page ones",
    )  # fmt: skip


def _start(machine: Machine, events: Sequence[str]) -> Trace:
    try:
        return machine.trace(*events)
    except ValueError as error:
        raise UsageError(f"-e: {error}") from None


def _save(trace: Trace, path: str) -> str:
    """Write a trace; returns what to say of it. Raises UsageError."""
    try:
        trace.save(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return f"{path}: {_size(trace)}"


def _check(path: str) -> None:
    """Whether a trace can be written there is better known before it is recorded. Raises UsageError."""
    is_new = not os.path.lexists(path)
    try:
        with open(path, "a"):
            pass
        if is_new:
            os.unlink(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _size(trace: Trace) -> str:
    return f"{len(trace)} events" + (f", {trace.lost} lost" if trace.lost else "")


@contextlib.contextmanager
def tracing(machine: Machine, events: Sequence[str], output: str | None) -> Iterator[None]:
    """Trace a machine, into a file or onto standard error. Raises UsageError before anything has run."""
    trace = _start(machine, events)
    if output is not None:
        _check(output)
    try:
        yield
    except UsageError:  # nothing has run, and an older file of that name is still worth something
        trace.stop()
        raise
    except BaseException:
        _finish(trace, output)
        raise
    _finish(trace, output)


def _finish(trace: Trace, output: str | None) -> None:
    trace.stop()
    if output is None:
        sys.stdout.flush()
        sys.stderr.writelines(line + "\n" for line in trace.text())
    else:
        print(_save(trace, output), file=sys.stderr)


class Tracing:
    """The shell's trace. on: whether it is."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._trace: Trace | None = None
        self._path: str | None = None
        self.on = False

    def command(self, text: str) -> Iterator[str]:
        """What is typed behind ``trace``; the lines to print. Raises UsageError."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{error}; usage: {USAGE}") from None
        if words == ["off"] or words == ["show"]:
            if self._trace is None:
                raise UsageError("nothing has been traced yet; begin with: trace on")
            return self._off(self._trace) if words == ["off"] else self._trace.text()
        if words[:1] != ["on"]:
            raise UsageError(f"usage: {USAGE}")
        if self.on:
            raise UsageError("events are being recorded already; end it with: trace off")
        parser = _Parser(prog="trace", add_help=False)
        add_options(parser)
        parser.add_argument("file", nargs="?")
        options = parser.parse_args(words[1:])
        if options.file is not None:
            _check(options.file)
        self._trace, self._path = _start(self._machine, options.events), options.file
        self.on = True
        return iter(())

    def close(self) -> None:
        """The machine ends, and so does its trace: if there is a FILE, it is written. Raises UsageError."""
        if self._trace is not None and self._path is not None:
            list(self._off(self._trace))

    def _off(self, trace: Trace) -> Iterator[str]:
        trace.stop()
        self.on = False
        path, self._path = self._path, None
        yield _size(trace) if path is None else _save(trace, path)
