"""The command ``numalab``: run programs and scenarios, compare with recordings, show, or open a shell.

    numalab                          a shell on a running machine
    numalab run PROGRAM [ARGS]       a .py program or a .scn scenario
    numalab trace PROGRAM [ARGS]     the same, and the kernel's trace events meanwhile
    numalab conform [DIR]            recorded answers of a real kernel against ours
    numalab compare PROGRAM [ARGS]   the same program under each migration engine
    numalab bench migrate            what migrations cost
    numalab numactl ARGS             also memhog, migratepages, migspeed, numastat, taskset: a look-alike, on a quad
    numalab export DIR [PROGRAM]     /proc and /sys as plain files
    numalab demo                     what it is about, in half a minute

Exit codes: those of the program for ``run``; 0 or 1 for ``conform``; 2 and one line for wrong use.
Everything but argparse is imported by the command that needs it, so a scenario starts quickly.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from numalab.tools import strace, trace
from numalab.tools.errors import UsageError, one_line
from numalab.tools.programs import LOOKALIKES

__all__ = ["main"]

_MACHINE_HELP = (
    "quad, dual, asym, odd, eight, movable, 4x512M, 'numa=fake=4 mem=2G' or a .toml file (default: quad)"
)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line.

    argparse prints the usage before the error; a person who mistyped one word then has to look for it.
    """

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    """The grammar of the command line: one subcommand a thing to do, none for the shell."""
    parser = _Parser(prog="numalab", description="A NUMA machine in one Python process.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    run = commands.add_parser("run", help="run a .py program or a .scn scenario on a machine")
    run.add_argument("--machine", default="quad", metavar="SPEC", help=_MACHINE_HELP)
    run.add_argument("--engine", metavar="NAME", help="migration engine: batched, direct or swap")
    run.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of every choice the scheduler has"
    )
    run.add_argument("--strace", action="store_true", help="print every system call on standard error")
    run.add_argument(
        "--explain", action="store_true", help="say on standard error what each call did to pages, and why"
    )
    strace.add_options(run)
    run.add_argument("program", metavar="PROGRAM", help="defines main(sys); or a scenario; or numactl ...")
    _add_arguments(run)

    traced = commands.add_parser("trace", help="run it, and record the kernel's trace events")
    traced.add_argument("--machine", default="quad", metavar="SPEC", help=_MACHINE_HELP)
    traced.add_argument("--engine", metavar="NAME", help="migration engine: batched, direct or swap")
    traced.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of every choice the scheduler has"
    )
    trace.add_options(traced)
    traced.add_argument(
        "-o", dest="output", metavar="FILE",
        help="a .json file is for ui.perfetto.dev, another is text; by default text on standard error",
    )  # fmt: skip
    traced.add_argument("program", metavar="PROGRAM", help="defines main(sys); or a scenario; or numactl ...")
    _add_arguments(traced)

    conform = commands.add_parser("conform", help="compare with recorded answers of a real kernel")
    # May be given again, and takes several words; a directory behind them is told apart in conform.py.
    conform.add_argument(
        "--machine", nargs="+", action="extend", default=[], metavar="NAME", help="only these"
    )
    conform.add_argument("--engine", metavar="NAME", help="migration engine")
    conform.add_argument("--brief", action="store_true", help="one line a scenario, no differences")
    conform.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: tests/conformance")

    compare = commands.add_parser("compare", help="the same program under each migration engine")
    compare.add_argument("--machine", default="quad", metavar="SPEC", help=_MACHINE_HELP)
    compare.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of every choice the scheduler has"
    )
    compare.add_argument(
        "--disk", default="ram", metavar="NAME", help="what is swapped to: ram, nvme or 2005"
    )
    compare.add_argument("--png", type=Path, metavar="FILE", help="draw the chart as a picture, too")
    compare.add_argument(
        "program", metavar="PROGRAM", help="defines main(sys); or a scenario; or numactl ..."
    )
    _add_arguments(compare)

    bench = commands.add_parser("bench", help="what migrations cost, by engine, size and share of obstacles")
    bench.add_argument("what", metavar="WHAT", help="migrate")

    export = commands.add_parser("export", help="/proc and /sys of a machine as plain files")
    export.add_argument("--machine", default="quad", metavar="SPEC", help=_MACHINE_HELP)
    export.add_argument("--engine", metavar="NAME", help="migration engine: batched, direct or swap")
    export.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of every choice the scheduler has"
    )
    export.add_argument("directory", type=Path, metavar="DIR", help="is made; has to be empty")
    export.add_argument(
        "program", nargs="?", metavar="PROGRAM", help="runs first; the files show it as it returns from main"
    )
    _add_arguments(export)

    for name in LOOKALIKES:
        commands.add_parser(name, help=f"a program like {name}, with its options")

    demo = commands.add_parser("demo", help="a guided tour: memory follows its process")
    demo.add_argument("--seed", type=int, default=0, metavar="N", help=argparse.SUPPRESS)

    shell = commands.add_parser("repl", help="a shell on a running machine (also: numalab alone)")
    shell.add_argument("--machine", default="quad", metavar="SPEC", help=_MACHINE_HELP)
    return parser


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the program is the program's, even if it looks like an option of ours; it may be nothing."""
    parser.add_argument(
        "args", nargs=argparse.REMAINDER, metavar="ARGS", help="become sys.argv"
    ).required = False


def _dispatch(argv: Sequence[str]) -> int:
    """Do what the words say and return the exit status. Raises UsageError."""
    if argv and argv[0] in LOOKALIKES:
        argv = ["run", *argv]  # the options behind it are its own
    options = _parser().parse_args(argv)
    if options.version:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"numalab {version('numalab')}")
        return 0
    if options.command == "run":
        from numalab.tools import run  # noqa: PLC0415

        strace.check(options)
        with (
            run.boot(options.machine, seed=options.seed, engine=options.engine) as machine,
            strace.tracing(machine, options),
        ):
            return run.main(options.program, options.args, machine, explain=options.explain)
    if options.command == "trace":
        from numalab.tools import run  # noqa: PLC0415

        with (
            run.boot(options.machine, seed=options.seed, engine=options.engine) as machine,
            trace.tracing(machine, options.events, options.output),
        ):
            return run.main(options.program, options.args, machine)
    if options.command == "conform":
        from numalab.tools import conform  # noqa: PLC0415

        return conform.main(options.directory, options.machine, options.engine, options.brief)
    if options.command == "compare":
        from numalab.tools import compare  # noqa: PLC0415

        return compare.main(
            options.program, options.args, options.machine, options.seed, options.disk, options.png
        )
    if options.command == "bench":
        from numalab.tools import bench  # noqa: PLC0415

        return bench.main(options.what)
    if options.command == "export":
        from numalab.tools import export, run  # noqa: PLC0415

        with run.boot(options.machine, seed=options.seed, engine=options.engine) as machine:
            return export.main(options.directory, options.program, options.args, machine)
    if options.command == "demo":
        from numalab.tools import demo  # noqa: PLC0415

        return demo.main()
    from numalab.tools import repl  # noqa: PLC0415

    return repl.main(getattr(options, "machine", "quad"))


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point: returns the exit status.

    argv: the words behind the command's name, by default those of this process.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the descriptor was closed when we were started
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    try:
        status = _dispatch(sys.argv[1:] if argv is None else argv)
        if not sys.stdout.closed:
            sys.stdout.flush()
        return status
    except UsageError as error:
        print(f"numalab: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # As a shell reports a command that Ctrl-C ended; whoever pressed it knows why.
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _give_up_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        # Of files we have said what is wrong with them; what is left is our output: a full disk, say.
        print(f"numalab: {one_line(error)}", file=sys.stderr)
        _give_up_output()
        return 1


def _give_up_output() -> None:
    """Nobody takes our output: what is left in the buffer must not be reported again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
