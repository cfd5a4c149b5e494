"""``numalab run``: a scenario or a Python program on a freshly booted machine.

A ``.py`` program defines ``main(sys)`` and gets its arguments as ``sys.argv``; its exit status becomes ours, 128 + N
for a death by signal N, which is said as a shell says it.  An exception that it does not catch is printed as Python
prints it, without the frames of this package.  A ``.scn`` scenario prints one line an operation and always exits 0.
Look-alikes of numactl and others are programs under their names.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import sys as host
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from numalab.tools.errors import UsageError
from numalab.tools.programs import LOOKALIKES, load, lookalike

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.syscalls.sys import Sys

__all__ = ["boot", "main", "scenario_output"]


def boot(spec: str, *, seed: int = 0, engine: str | None = None) -> Machine:
    """A machine from what a person typed.

    spec: as numalab.boot() takes it.  engine: the migration engine, None for the default.
    Raises UsageError for a name or an option that is wrong.
    """
    import numalab  # noqa: PLC0415

    try:
        return numalab.boot(spec, seed, migration="batched" if engine is None else engine)
    except (ValueError, MemoryError) as error:
        raise UsageError(str(error)) from None


def scenario_output(
    machine: Machine, data: bytes, *, explain: bool = False, strict: bool = False
) -> Iterator[str]:
    """The result lines of a scenario, as the recorder writes them; strict: it refuses keys that are none."""
    from numalab.tools.scn.runner import Runner  # noqa: PLC0415

    runner = Runner(machine, strict=strict)
    told: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if explain:
        from numalab.tools.explain import region_label, telling  # noqa: PLC0415

        told = telling(machine, region_label(runner))
    with told:
        for number, text, answer in runner.script(data):
            yield f"{number} {text} => {answer}"


def main(
    program: str,
    args: Sequence[str],
    machine: Machine,
    *,
    explain: bool = False,
    at_end: Callable[[], object] | None = None,
) -> int:
    """Run one program and return the exit status for the shell.

    explain: say on standard error what each call did to pages.  at_end: called when a Python program's main has
    returned and the process is there still.
    The name's ending says what it is, as it does for people.  Raises UsageError if it cannot be read or is neither.
    """
    path = Path(program)
    if program in LOOKALIKES:
        loading = functools.partial(lookalike, program)
    elif path.suffix in (".py", ".scn"):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{program}: {error.strerror}") from None
        if path.suffix == ".scn":
            return _run_scenario(machine, data, explain)
        loading = functools.partial(load, program, data)
    else:
        name = program or "PROGRAM is empty"
        raise UsageError(f"{name}: a program is a .py file that defines main(sys), or a .scn scenario")
    told: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if explain:
        from numalab.tools.explain import telling  # noqa: PLC0415

        told = telling(machine)
    with told:
        return _run_python(machine, loading, args, at_end)


def _run_scenario(machine: Machine, data: bytes, explain: bool) -> int:
    """Print the answers as they come; whatever they are, the scenario was carried out."""
    out = host.stdout.buffer
    for line in scenario_output(machine, data, explain=explain, strict=True):
        # Bytes, as they came: an operation is echoed as it was written, whatever its encoding.
        out.write(line.encode("latin-1") + b"\n")
        out.flush()
    return 0


def _run_python(
    machine: Machine,
    loading: Callable[[], Callable[..., object]],
    args: Sequence[str],
    at_end: Callable[[], object] | None,
) -> int:
    """Load a program and run its main(sys) as a process.

    Everything that it raises is its own affair and is shown as Python shows it, also while it is being loaded.
    """
    from numalab import Deadlock, KernelBug  # noqa: PLC0415
    from numalab.kernel.fork import status_of_exit  # noqa: PLC0415
    from numalab.kernel.report import format_exception  # noqa: PLC0415

    try:
        main = loading()
        status = machine.run(main if at_end is None else _followed_by(main, at_end), argv=args)
    except (UsageError, KeyboardInterrupt):
        raise
    except SystemExit as leave:
        return status_of_exit(leave)
    except (Deadlock, KernelBug) as error:
        # Not the program's exception: the machine came to a stand.
        print(f"numalab: {error}", file=host.stderr)
        if os.environ.get("NUMALAB_TRACEBACK"):
            traceback.print_exception(error)
        return 1
    except BaseException as error:  # whatever a program raises
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            raise
        if not host.stdout.closed:
            host.stdout.flush()  # what it printed comes first
        host.stderr.write(format_exception(error))
        return 1
    if status >= 0:
        return status
    if -status not in (signal.SIGINT, signal.SIGPIPE):  # of these a shell says nothing
        print(signal.strsignal(-status) or f"Signal {-status}", file=host.stderr)
    return 128 - status


def _followed_by(main: Callable[..., object], at_end: Callable[[], object]) -> Callable[..., object]:
    """A main(sys) that calls another function when it has returned, and returns the same."""

    @functools.wraps(main)
    def both(sys: Sys) -> object:
        status = main(sys)
        at_end()
        return status

    return both


def _reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads. A program may also write into a pipe of its machine's."""
    poll = select.poll()
    try:
        poll.register(host.stdout, 0)
    except ValueError:  # closed, or no file at all
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))
