"""``numalab run``: a scenario or a Python program on a freshly booted machine.

A ``.py`` program defines ``main(sys)`` and gets its arguments as ``sys.argv``; its exit status becomes
ours, 128 + N for a death by signal N.  An exception that it does not catch is printed as Python prints it,
without the frames of this package.  A ``.scn`` scenario prints one line an operation and always exits 0.
"""

from __future__ import annotations

import os
import sys as host
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from numalab.tools.errors import UsageError

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine

__all__ = ["boot", "main", "scenario_output"]

_ROOT = Path(__file__).resolve().parent.parent
_FLOORS = [_ROOT / floor for floor in ("arch", "mm", "kernel", "syscalls", "tools")]


def boot(spec: str, *, seed: int = 0, engine: str | None = None, strace: bool = False) -> Machine:
    """A machine from what a person typed.

    spec: as numalab.boot() takes it.  engine: the migration engine, None for the default.  strace: print system
    calls on standard error from the start.  Raises UsageError for a name or an option that is wrong.
    """
    import numalab  # noqa: PLC0415

    try:
        machine = numalab.boot(spec, seed, migration=engine or "batched")
    except (ValueError, MemoryError) as error:
        raise UsageError(str(error)) from None
    if strace:
        machine.strace()
    return machine


def scenario_output(machine: Machine, data: bytes) -> Iterator[str]:
    """The result lines of a scenario, as the recorder writes them."""
    from numalab.tools.scn.runner import Runner  # noqa: PLC0415

    for number, text, answer in Runner(machine).script(data):
        yield f"{number} {text} => {answer}"


def main(program: str, args: Sequence[str], machine: Machine) -> int:
    """Run one program and return the exit status for the shell.

    The name's ending says what it is, as it does for people.  Raises UsageError if it cannot be read or is neither.
    """
    path = Path(program)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{program}: {error.strerror}") from None
    if path.suffix == ".scn":
        return _run_scenario(machine, data)
    if path.suffix == ".py":
        return _run_python(machine, program, data, args)
    raise UsageError(f"{program}: a program is a .py file that defines main(sys), or a .scn scenario")


def _run_scenario(machine: Machine, data: bytes) -> int:
    """Print the answers as they come; whatever they are, the scenario was carried out."""
    out = host.stdout.buffer
    for line in scenario_output(machine, data):
        # Bytes, as they came: an operation is echoed as it was written, whatever its encoding.
        out.write(line.encode("latin-1") + b"\n")
        out.flush()
    return 0


def _run_python(machine: Machine, program: str, data: bytes, args: Sequence[str]) -> int:
    """Load the program as a module of its own and run its main(sys) as a process.

    Everything that it raises is its own affair and is shown as Python shows it, also while it is being loaded.
    """
    from numalab import Deadlock, KernelBug  # noqa: PLC0415

    module = types.ModuleType("__numalab_program__")
    module.__file__ = program
    host.modules[module.__name__] = module  # dataclasses and pickle look a class's module up
    host.path.insert(0, str(Path(program).resolve().parent))
    try:
        exec(compile(data, program, "exec", dont_inherit=True), module.__dict__)
        main = getattr(module, "main", None)
        if not callable(main):
            raise UsageError(f"{program}: defines no main(sys)")
        status = machine.run(main, argv=args)
    except (UsageError, BrokenPipeError):
        raise
    except (Deadlock, KernelBug) as error:
        # Not the program's exception: the machine came to a stand.
        print(f"numalab: {error}", file=host.stderr)
        if os.environ.get("NUMALAB_TRACEBACK"):
            traceback.print_exception(error)
        return 1
    except Exception as error:  # noqa: BLE001 - whatever a program raises
        _print_traceback(error)
        return 1
    return status if status >= 0 else 128 - status


def _print_traceback(error: Exception) -> None:
    """The program's own traceback: our frames above and below its own say nothing to its author."""
    report = traceback.TracebackException.from_exception(error)
    _drop_our_frames(report)
    host.stdout.flush()
    # An error in the program's text has no frame of the program's.
    host.stderr.write("".join(report.format() if report.stack else report.format_exception_only()))


def _drop_our_frames(report: traceback.TracebackException | None) -> None:
    """Leave only the program's frames, also in the exceptions that led to this one."""
    while report is not None:
        theirs = [frame for frame in report.stack if not _is_ours(frame.filename)]
        report.stack = traceback.StackSummary.from_list(theirs)
        for other in (report.__context__, *(report.exceptions or ())):
            _drop_our_frames(other)
        report = report.__cause__


def _is_ours(filename: str) -> bool:
    """Whether a file belongs to this package; examples and tests beside it do not."""
    path = Path(filename).resolve()
    return any(path.is_relative_to(floor) for floor in _FLOORS)
