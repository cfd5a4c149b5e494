"""``numalab``: a shell on a running machine.

Every operation of the scenario language is a command, with the same grammar and the same answers, so what
was tried here can be saved as a scenario.  Beside them: ``map`` and ``regions`` draw where pages are,
``walk`` follows an address, ``step`` goes through an operation page by page and ``back`` undoes it, ``machine``
boots another one, ``py`` evaluates Python inside the machine, ``strace`` shows the system calls, ``trace`` what
the kernel does.

Built on cmd2 (an extra, imported when the shell starts).  A line that begins with an operation goes to the
machine as it was typed: cmd2's own syntax (pipes, redirection, ``;``) would take ``MOVE|STRICT`` apart.  Only a pipe
with blanks around it leads out of the machine, to a command of the host.
"""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from numalab.mm._constants import PGFAULT, PGMIGRATE_SUCCESS, PSWPOUT
from numalab.tools.compare import pass_lines
from numalab.tools.errors import UsageError, one_line
from numalab.tools.frames import VIEWS
from numalab.tools.interrupt import ctrl_c
from numalab.tools.picture import time_text
from numalab.tools.programs import LOOKALIKES
from numalab.tools.progress import progress

try:
    import cmd2
except ModuleNotFoundError:
    raise UsageError("the shell needs cmd2: pip install numalab[repl]") from None

from cmd2.completion import Completions
from cmd2.string_utils import strip_quotes
from rich.text import Text

from numalab.tools.completion import World, candidates
from numalab.tools.scn.ops import OPERATIONS
from numalab.tools.scn.ops.examples import EXAMPLES
from numalab.tools.scn.parse import script_lines, split
from numalab.tools.session import Session

__all__ = ["Shell", "main"]

_BANNER = """\
numalab: {description}

Operations go to the process `main` (root, on CPU 0), or to another one: `NAME: OPERATION`. Try:

    mmap a 8                          map 8 pages and call them a
    touch a w                         write to each
    nodes a                           where are they?
    migrate_pages self {{0}} {{1}}        move all from node 0 to node 1
    regions                           see it; map shows the frames of the nodes
    explain                           page by page: which pass moved it, or why it stayed
    back                              undo it; step migrate_pages self {{0}} {{1}} goes page by page

help lists everything, help NAME explains; Tab completes; Ctrl-D ends."""

_GROUPS = {
    "mapping": "Address space", "access": "Access", "policy": "Policy", "migration": "Migration",
    "look": "What the kernel says", "identity": "What a process is", "files": "Files, mounts",
    "scarcity": "Memory and swap taken away", "obstacles": "Obstacles", "control": "Processes",
}  # fmt: skip

_PROGRAMS = "Programs, as on any machine"

#: Of the kinds of a map; the first is that of free frames and plain text.
_COLOURS = (
    "", "bright_blue", "bright_green", "bright_yellow", "bright_magenta", "bright_cyan", "bright_red", "blue", "green",
    "yellow", "magenta", "cyan",
)  # fmt: skip


def _decoded(text: str) -> str:
    """What the scenario language keeps as bytes, one a character, as text."""
    return text.encode("latin-1").decode(errors="replace")


class Shell(cmd2.Cmd):
    """The shell: cmd2 for the prompt, history, help and completion; a Session for everything else."""

    DEFAULT_CATEGORY = "The shell"

    def __init__(self, spec: str, stdout: TextIO | None = None) -> None:
        # include_py keeps the method do_py, which is ours; completion asks the machine, so it must not run beside it.
        super().__init__(
            stdout=stdout,
            allow_cli_args=False,
            allow_clipboard=False,
            include_py=True,
            complete_in_thread=False,
        )
        self.session = Session(spec)
        # Still there for those who know cmd2, but help is about the machine.
        self.hidden_commands += [
            "edit", "macro", "run_pyscript", "set", "shell", "shortcuts", "_relative_run_script",
        ]  # fmt: skip
        self.default_error = "{}: no such operation or command (help lists them)"
        self._name()

    def _name(self) -> None:
        """Let the prompt say which machine this is, and what comes next in an operation that is stepped through."""
        stepper = self.session.stepper
        self.prompt = f"{self.session.name}{f' ({stepper.next})' if stepper else ''}> "

    def _say_off(self, watching: list[str]) -> None:
        for name in watching:
            self.poutput(f"{name} is off: it ended with its machine")

    # Operations.

    def onecmd_plus_hooks(self, line: str, **options: Any) -> bool:
        """Carry out a line; if it was the end of main, there is a new one, or the shell ends too."""
        ends = False
        try:
            ends = self._one(line, options)
        except Exception as error:  # noqa: BLE001 - as cmd2 does for its commands: the machine goes on
            self.pexcept(error)
        if not self.session.over and (told := self.session.replace_main()):
            self.perror(told)
        return ends or self.session.over

    def _one(self, line: str, options: dict[str, Any]) -> bool:
        """Operations and Python go where they belong as they were typed; the rest is cmd2's. Whether the shell ends."""
        typed = line.encode(errors="surrogateescape")
        line = typed.decode(errors="replace")  # what is no text is for operations only
        text = next((text for _, text in script_lines(typed)), "")
        word = text.partition(" ")[0]
        if not text and line.strip():
            return False  # a comment
        if not text and self.session.stepper is not None and self.stdin.isatty():
            self._step("")
            return False
        # The table of nodes is no operation: cmd2 sees to what stands behind it, and to its pipe.
        table = word == "nodes" and split(text).pos[1:2] in ([], ["|"], [">"], [">>"])
        if table or (word != "py" and not self.session.is_operation(text)):
            # What is no command must not open what stands behind its `>`: that would be a file of the host.
            command = self.statement_parser.parse_command_only(line).command
            if command and command not in self.get_all_commands() and command not in self.macros:
                self.perror(self.default_error.format(command), style=None)
                return False
            return super().onecmd_plus_hooks(text if table else line, **options)
        self.history.append(cmd2.Statement(line.strip().partition(" ")[2], raw=line, command=word))
        if word == "py":
            self._python(line.strip().partition(" ")[2].strip())
        else:
            self._operate(text)
        return False

    def _operate(self, line: str) -> None:
        """Print the answer of the machine, or what `| COMMAND` behind the operation makes of it.

        A line outside the language also gets the usage of its operation.
        """
        if line == "nodes":
            self._tell(self.session.nodes_table)
            return
        text, _, command = line.partition(" | ")
        if len(split(text).pos) < 2 and text.endswith(":"):
            name = _decoded(text)
            self.perror(f"usage: {name} OPERATION, such as: {name} getcpu", style=None)
            return
        try:
            with ctrl_c(self.session.machine.kernel), progress(sys.stderr, self._how_far):
                answer = self.session.operate(text)
        except UsageError as error:
            self.perror(one_line(error))
            return
        name = next(iter(split(text.partition(": ")[2] or text).pos), "")
        if not answer.startswith("script-error="):
            shown = _decoded(answer)
            if name == "cat" and answer.startswith("ret=0"):  # a file is to be read, perhaps by the command
                shown = _decoded(self.session.read).removesuffix("\n")
            if command:
                with ctrl_c(self.session.machine.kernel):  # the terminal gives it to the command, too
                    run = subprocess.run(
                        command, shell=True, input=f"{shown}\n".encode(), stdout=subprocess.PIPE, check=False
                    )
                shown = run.stdout.decode(errors="replace").removesuffix("\n")
            if shown:
                print(shown, file=self.stdout)  # as it is: poutput() would make blanks of tabs
            return
        if answer.endswith("no-such-actor"):
            actor = _decoded(text).partition(":")[0]
            self.perror(f"{actor}: no such process (there are {', '.join(self.session.actors)})")
            return
        self.perror(_decoded(answer))
        if name in OPERATIONS and not answer.endswith("unsupported"):
            self.perror(f"usage: {name} {OPERATIONS[name].usage}".rstrip(), style=None)

    def pexcept(self, exception: BaseException, **options: Any) -> None:
        """Print an exception that nobody expected, in one line."""
        self.perror(f"{type(exception).__name__}: {one_line(exception)}")

    def _how_far(self) -> str:
        """What is told of an operation that takes long."""
        mem = self.session.machine.mem
        counted = ((PGFAULT, "faults"), (PGMIGRATE_SUCCESS, "pages migrated"), (PSWPOUT, "to swap"))
        counts = ", ".join(f"{int(mem.event[event])} {what}" for event, what in counted)
        return f"{time_text(mem.hw.now)} on the machine's clock, {counts} since boot"

    def _python(self, code: str) -> None:
        """Print what Python code prints or is worth, or the error it ended in."""
        if not code:
            self.perror("usage: py EXPRESSION, such as: py machine.check_invariants()", style=None)
            return
        try:
            with ctrl_c(self.session.machine.kernel, self.session.runner.main):
                text, failed = self.session.evaluate(code)
        except UsageError as error:
            text, failed = one_line(error), True
        if text:
            (self.perror if failed else self.poutput)(text)

    def _program(self, name: str, args: str) -> None:
        """Run a look-alike; what it prints goes where the shell's output goes."""
        try:
            with (
                ctrl_c(self.session.machine.kernel, self.session.runner.main),
                contextlib.redirect_stdout(self.stdout),
            ):
                status = self.session.program(name, args)
        except UsageError as error:
            self.perror(one_line(error))
            return
        if status < 0:
            self.perror(signal.strsignal(-status) or f"Signal {-status}", style=None)

    def complete(
        self, text: str, line: str, begidx: int, endidx: int, custom_settings: Any = None
    ) -> Completions:
        """Candidates for the word at the cursor, cut to the part that cmd2 asks for."""
        before = line[:endidx]
        found = candidates(before, self._world())
        if not found and not self.session.is_operation(before.strip()):
            return super().complete(text, line, begidx, endidx, custom_settings)
        word = before.split()[-1] if before and not before[-1].isspace() else ""
        skip = len(word) - len(text)
        return Completions.from_values([candidate[skip:] for candidate in found])

    def _world(self) -> World:
        """The names that a line may use now."""
        session = self.session
        commands = [name for name in self.get_visible_commands() if name not in OPERATIONS]
        return World(session.regions, session.actors, session.nodes, commands)

    # Commands of the shell.

    def _tell(self, lines: Callable[[], Iterator[str]]) -> None:
        """Print lines as they come, or why there are none."""
        try:
            for line in lines():
                self.poutput(line)
        except UsageError as error:
            self.perror(one_line(error))

    def do_map(self, statement: cmd2.Statement) -> None:
        """The frames of each node, a character for a few of them: whose they are, or their policy, age or state.

        Usage: map [owner|policy|age|state]

        Example: map age
        """
        view = statement.args.strip() or "owner"
        if view not in VIEWS:
            self.perror(f"{view}: no such view (there are {', '.join(VIEWS)})")
            return
        for line in self.session.frame_map(view):
            self.poutput(Text.assemble(*((text, _COLOURS[number % len(_COLOURS)]) for text, number in line)))

    def do_regions(self, statement: cmd2.Statement) -> None:
        """The regions of a process, the pages of each as a bar a node.

        Usage: regions [ACTOR]

        Example: regions main
        """
        name = statement.args.strip() or "main"
        if name not in self.session.actors:
            self.perror(f"{name}: no such process (there are {', '.join(self.session.actors)})")
            return
        with ctrl_c(self.session.machine.kernel):
            self._tell(lambda: self.session.regions_of(name))

    def do_ps(self, statement: cmd2.Statement) -> None:
        """The processes: CPU, state, memory policy, and on which nodes their pages are.

        Usage: ps

        Example: ps | sort -k3
        """
        if statement.args:
            self.perror("usage: ps")
            return
        self._tell(self.session.processes)

    def do_walk(self, statement: cmd2.Statement) -> None:
        """The page-table walk of an address, level by level, to the frame, what is known of it, and TLBs that have it.

        Usage: walk [ACTOR:] RANGE

        Example: walk a+3
        """
        self._tell(lambda: self.session.walk(statement.args))

    def do_step(self, statement: cmd2.Statement) -> None:
        """Go through an operation page by page. The machine stands still in between: walk, map and ps look at it.

        Usage: step OPERATION          begin; it stops before its first page
               step [page|pass|end]    on to the next page (also: Enter), to the end of the pass, to the end

        Example: step migrate_pages self {0} {1}
        """
        self._step(statement.args)

    def _step(self, text: str) -> None:
        with ctrl_c(self.session.machine.kernel):
            self._tell(lambda: self.session.step(text))
        self._name()

    def do_back(self, statement: cmd2.Statement) -> None:
        """Undo the last steps: the machine boots anew, and what was done before them is done again.

        Usage: back [N]

        Example: back 2
        """
        word, watching = statement.args.strip() or "1", self.session.watching
        try:
            undone = self.session.back(int(word) if word.isdecimal() else 0)
        except UsageError as error:
            self.perror(one_line(error))
            return
        self._name()
        for line in undone:
            self.poutput(f"undone: {line}")
        self._say_off(watching)

    def do_record(self, statement: cmd2.Statement) -> None:
        """Write what was done since boot into a file, as a scenario for `numalab run`.

        Usage: record FILE

        Example: record mine.scn
        """
        path = strip_quotes(statement.args.strip())
        if not path:
            self.perror("usage: record FILE")
            return
        try:
            self.poutput(f"{self.session.record(path)} operations")
        except UsageError as error:
            self.perror(one_line(error))

    def do_machine(self, statement: cmd2.Statement) -> None:
        """Boot another machine, or say which one this is. All processes of the old one are gone.

        Usage: machine [SPEC]      quad, dual, asym, odd, eight, movable, 4x512M, numa=fake=4 mem=2G, or a .toml

        Example: machine 4x512M
        """
        spec, watching = strip_quotes(statement.args.strip()), self.session.watching
        if spec:
            try:
                self.session.reboot(spec)
            except UsageError as error:
                self.perror(one_line(error))
                return
            finally:
                self._name()
            self._say_off(watching)
        self.poutput(self.session.description)

    def do_engine(self, statement: cmd2.Statement) -> None:
        """Choose how pages are moved from now on, or say how they are.

        Usage: engine [NAME]       batched (Linux 6.12), direct (2.6.18), swap (October 2005)

        Example: engine swap
        """
        name = statement.args.strip()
        try:
            if name:
                self.session.engine(name)
        except UsageError as error:
            self.perror(one_line(error))
            return
        self.poutput(self.session.machine.engine)

    def do_ledger(self, statement: cmd2.Statement) -> None:
        """The passes of the last migration: what each tried, what went, and why the rest stayed.

        Usage: ledger

        Example: ledger
        """
        if statement.args:
            self.perror("usage: ledger")
            return
        ledgers = self.session.machine.mem.ledgers
        if not ledgers:
            self.perror("nothing has been migrated yet")
            return
        self.poutput(f"{ledgers[-1].engine}: {ledgers[-1].isolated} pages isolated, {ledgers[-1].moved} went")
        for line in pass_lines(ledgers[-1]):
            self.poutput(line)

    def do_explain(self, statement: cmd2.Statement) -> None:
        """What a call did to each page, and why, as the kernel noted it when it decided.

        Usage: explain                 the last call that moved pages, set a policy or failed
               explain CALL            the last migrate_pages, move_pages, mbind ...
               explain [ACTOR:] RANGE  what the last calls did to these pages, such as a+3 or a+0:8 or 0x7f0000

        Example: explain a+3
        """
        self._tell(lambda: self.session.explain(statement.args))

    def do_strace(self, statement: cmd2.Statement) -> None:
        """Show the system calls that operations make, as strace(1) prints them; off ends it.

        Usage: strace on [-c|-C] [-w] [-e trace=SET] [-o FILE]
               strace off

            -c            only count calls, time and errors; the table comes with strace off
            -C            count, and print the calls as well
            -w            count the time that calls slept, too
            -e trace=SET  which calls: mbind,move_pages or %memory or !%file or /^sched_ or all
            -o FILE       write into a file

        Example: strace on -e trace=%memory
        """
        try:
            self.session.strace(statement.args)
        except UsageError as error:
            self.perror(one_line(error))

    def do_export(self, statement: cmd2.Statement) -> None:
        """Write /proc and /sys as plain files, for programs that know nothing of numalab.

        Usage: export DIR         is made; has to be empty
        """
        try:
            self.session.export(strip_quotes(statement.args.strip()))
        except UsageError as error:
            self.perror(one_line(error))

    def do_trace(self, statement: cmd2.Statement) -> None:
        """Record the kernel's trace events, by its own names.

        Usage: trace on [-e EVENT].. [FILE]   from now on; without -e all that do not come page by page
               trace show                     what has been recorded, as /sys/kernel/tracing/trace has it
               trace off                      no more; FILE is written, a .json file for ui.perfetto.dev

            FILE is written as well when the machine ends: by back, machine, or the end of the shell.

            -e EVENT   migrate, kmem:mm_page_alloc, mm_vmscan_* ...: a system, an event, or both

        Example: trace on -e migrate
        """
        self._tell(lambda: self.session.trace(statement.args))

    def do_py(self, statement: Any) -> None:
        """Evaluate Python in the process `main`: sys are its system calls, machine is the machine.

        Usage: py EXPRESSION or STATEMENT, such as
            py sys.getpid()
            py machine.check_invariants()
        Names that are assigned stay for the next py.
        """
        self._python(statement.args)

    def do_quit(self, statement: Any) -> bool:
        """End the shell."""
        return True


def _add_lookalikes() -> None:
    """Give the shell a method a look-alike, with an example each."""
    examples = {
        "memhog": "memhog 8m membind 1", "migratepages": "migratepages 1 0 2", "migspeed": "migspeed 0 1",
        "numactl": "numactl --membind=1 memhog 8m", "numastat": "numastat -p 100", "taskset": "taskset -pc 1",
    }  # fmt: skip
    for name in LOOKALIKES:

        def method(self: Shell, statement: cmd2.Statement) -> None:
            self._program(statement.command, statement.args)

        method.__doc__ = (
            f"A program like {name}, with its options: a child of main.\n\nExample: {examples[name]}"
        )
        method.__name__ = method.__qualname__ = f"do_{name}"
        cmd2.with_category(_PROGRAMS)(method)
        setattr(Shell, method.__name__, method)


def _add_operations() -> None:
    """Give the shell a method an operation, so that help and completion list them by family."""
    for operation in OPERATIONS.values():

        def method(self: Shell, statement: cmd2.Statement) -> None:
            self._operate(statement.command_and_args)  # an alias has been replaced in it

        usage = f"Usage: {operation.name} {operation.usage}".rstrip()
        if operation.name == "nodes":
            usage += "\n       nodes          the nodes themselves: CPUs, memory, distances"
        told = operation.help.replace("``", "`")
        method.__doc__ = f"{told}\n\n{usage}\n\nExample: {EXAMPLES[operation.name]}"
        method.__name__ = method.__qualname__ = f"do_{operation.name}"
        cmd2.with_category(_GROUPS[operation.family])(method)
        setattr(Shell, method.__name__, method)


_add_operations()
_add_lookalikes()


def main(spec: str) -> int:
    """Run the shell until its user leaves."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what is printed may be any text
    shell = Shell(spec)
    interactive = sys.stdin.isatty()
    status = shell.cmdloop(_BANNER.format(description=shell.session.description) if interactive else "")
    shell.session.close()
    return status
