"""strace's options, on the command line behind ``run --strace`` and in the shell behind ``strace on``.

They are those of strace(1): ``-c``, ``-C``, ``-w``, ``-e trace=SET``, ``-o FILE``.  Tasks are always followed, as with
its ``-f``.
"""

from __future__ import annotations

import contextlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

from numalab.tools.errors import UsageError
from numalab.tools.report import Report

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine

__all__ = ["USAGE", "add_options", "check", "parse", "start", "tracing"]

USAGE = "strace on [-c|-C] [-w] [-e trace=SET] [-o FILE], or strace off"
_OPTIONS = {"summary_only": "-c", "summary": "-C", "wall": "-w", "expression": "-e", "output": "-o"}


class _Parser(ArgumentParser):
    """An ArgumentParser that raises what the shell prints in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; usage: {USAGE}")


def add_options(parser: ArgumentParser) -> None:
    """Let a parser take strace's options."""
    group = parser.add_argument_group("with --strace")
    summary = group.add_mutually_exclusive_group()
    summary.add_argument(
        "-c", dest="summary_only", action="store_true", help="only count calls, time and errors"
    )
    summary.add_argument("-C", dest="summary", action="store_true", help="count, and print the calls as well")
    group.add_argument("-w", dest="wall", action="store_true", help="count the time that calls slept, too")
    group.add_argument(
        "-e", dest="expression", metavar="EXPR",
        help="trace=SET: which calls, such as trace=mbind,move_pages or trace=%%memory or trace=!%%file",
    )  # fmt: skip
    group.add_argument("-o", dest="output", metavar="FILE", help="write into a file, each line with its pid")


def check(options: Namespace) -> None:
    """Without ``--strace`` its options mean nothing. Raises UsageError."""
    given = [flag for name, flag in _OPTIONS.items() if getattr(options, name)]
    if given and not options.strace:
        raise UsageError(f"{given[0]} is an option of strace: say --strace {given[0]}")


def parse(words: list[str]) -> Namespace:
    """The options behind ``strace on``. Raises UsageError."""
    parser = _Parser(prog="strace", add_help=False)
    add_options(parser)
    return parser.parse_args(words)


def start(machine: Machine, options: Namespace, through: Callable[[TextIO], object] | None = None) -> TextIO:
    """Trace a machine from now on, until ``machine.strace(False)``; returns the output.

    through: what stands between the tracer and its file.  Raises UsageError for a set of calls or a file that is none;
    nothing has changed then.
    """
    from numalab.syscalls.strace.trace_set import parse_trace_set  # noqa: PLC0415

    trace = _trace_set(options.expression)
    try:
        parse_trace_set(trace)
        out = None if options.output is None else open(options.output, "w", encoding="utf-8")  # noqa: SIM115
    except ValueError as error:
        raise UsageError(f"-e trace={trace}: {error}") from None
    except OSError as error:
        raise UsageError(f"-o {options.output}: {error.strerror}") from None
    file = sys.stderr if out is None else out
    output = file if through is None else cast("TextIO", through(file))
    machine.strace(
        True, output, trace=trace, lines=not options.summary_only, summary=options.summary_only or options.summary,
        wall=options.wall, to_file=out is not None,
    )  # fmt: skip
    return output


@contextlib.contextmanager
def tracing(machine: Machine, options: Namespace) -> Iterator[None]:
    """Trace a machine, if the command line says so."""
    if not options.strace:
        yield
        return
    output = start(machine, options, through=Report)
    try:
        yield
    finally:
        try:
            machine.strace(False)
            if options.output is None:
                output.flush()
        except OSError:
            sys.stdout.flush()  # what the program has printed is not lost with the trace
            raise


def _trace_set(expression: str | None) -> str:
    """The set of calls in ``trace=SET``, or alone. Raises UsageError for another expression."""
    if expression is None:
        return "all"
    name, equals, value = expression.partition("=")
    if not equals:
        return name
    if name not in ("trace", "t"):
        raise UsageError(f"-e {expression}: only trace=SET is known, such as trace=%memory")
    return value
