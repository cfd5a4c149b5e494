"""One running machine as a person uses it from the shell: operations, pictures, Python.

What the shell shows, without the shell: no cmd2 here, so it can be tested and used by others.
"""

from __future__ import annotations

import contextlib
import functools
import io
import shlex
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from greenlet import GreenletExit

from numalab.arch.errno import ENOMEM, KernelError
from numalab.kernel.kill import send_signal
from numalab.kernel.signal import SIGCHLD, SIGINT, SIGKILL, Disposition, signal_name
from numalab.kernel.task import INIT_PID, TaskExit
from numalab.mm.mpol import mpol_to_str
from numalab.mm.task_mmu import numa_maps_stats
from numalab.syscalls.sys import ExecImage, Sys
from numalab.tools import explain, strace, trace
from numalab.tools.errors import UsageError
from numalab.tools.export import export
from numalab.tools.frames import Piece, frame_map
from numalab.tools.interrupt import TYPED, keyboard_interrupt
from numalab.tools.picture import bar_character, bytes_text, node_bars
from numalab.tools.programs import LOOKALIKES, lookalike
from numalab.tools.run import boot
from numalab.tools.scn.actor import Actor
from numalab.tools.scn.ops import OPERATIONS
from numalab.tools.scn.ops.migration import pages_per_node
from numalab.tools.scn.parse import PAGE, Span, split
from numalab.tools.scn.runner import ActorDied, Runner
from numalab.tools.stepper import UNTIL, Stepper
from numalab.tools.walk import walk

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine

__all__ = ["Session"]

_WIDTH = 40


def _leave(code: object = None) -> NoReturn:
    raise SystemExit(code)


def _switch_off(machine: Machine, tracing: trace.Tracing) -> None:
    try:
        tracing.close()
    finally:
        with contextlib.suppress(OSError):
            machine.strace(False)
        machine.close()


class _Printed(io.StringIO):
    """What a line of Python prints; it may close its ``sys.stdout``, and we still want to know."""

    def close(self) -> None:
        pass


class Session:
    """A machine, the processes on it, and the names that Python code left behind.

    over: whether ``main`` was told to exit, and with it the session.  stepper: the operation that is gone through step
    by step, if there is one.  done: what was done since boot, as (command, rest); an operation's command is "".
    """

    def __init__(self, spec: str) -> None:
        """Boot a machine. Raises UsageError for a spec that is none, or one too small."""
        self.over = False
        self._boot(spec)

    def _boot(self, spec: str) -> None:
        machine = boot(spec)
        try:
            runner = Runner(machine, strict=True)
            if not runner.main.alive:
                raise KernelError(ENOMEM)
        except KernelError:
            machine.close()
            raise UsageError(f"machine {spec!r} is too small for a process of the shell") from None
        self.spec, self.machine, self.runner = spec, machine, runner
        self.stepper: Stepper | None = None
        self.done: list[tuple[str, str]] = []
        self.tracing = trace.Tracing(machine)
        self._stracing = False
        machine.explain_calls()
        # Python's own exit() closes the terminal as well.
        self.names: dict[str, Any] = {"machine": self.machine, "exit": _leave, "quit": _leave}

    def reboot(self, spec: str) -> None:
        """Boot another machine; the old one is closed only if the new one came up.

        Raises UsageError for a spec that is none; with the new machine there, for a trace that cannot be written.
        """
        old, tracing = self.machine, self.tracing
        self._boot(spec)
        _switch_off(old, tracing)

    @property
    def watching(self) -> list[str]:
        """Which of strace and trace are on; they end with the machine."""
        return [name for name, on in (("strace", self._stracing), ("trace", self.tracing.on)) if on]

    def close(self) -> None:
        """Switch the machine off. Raises UsageError: its trace cannot be written."""
        _switch_off(self.machine, self.tracing)

    # What there is.

    @property
    def name(self) -> str:
        """What the machine is called."""
        return self.machine.topology.name

    @property
    def description(self) -> str:
        """One line: the machine and its nodes."""
        topology = self.machine.topology
        kinds: dict[str, list[int]] = {}
        for node in topology.nodes:
            size = sum(end - start for start, end in node.ranges) * PAGE
            cpus = f"{len(node.cpus)} CPU{'s' if len(node.cpus) != 1 else ''}" if node.cpus else "no CPU"
            kinds.setdefault(f"{bytes_text(size) if size else 'no memory'}, {cpus}", []).append(node.id)
        nodes = (
            f"node{'s' * (len(ids) > 1)} {','.join(map(str, ids))}: {kind}" for kind, ids in kinds.items()
        )
        return f"machine {topology.name}; " + "; ".join(nodes)

    @property
    def nodes(self) -> list[int]:
        """Ids of its nodes."""
        return list(self.machine.topology.node_ids)

    @property
    def actors(self) -> list[str]:
        """Names of the processes that can be spoken to."""
        return self.runner.actors

    @property
    def regions(self) -> list[str]:
        """Names of regions, of all processes."""
        actors = (self.runner.actor(name) for name in self.actors)
        return sorted({region.name for actor in actors if actor for region in actor.regions})

    @property
    def read(self) -> str:
        """The file that ``cat`` has read last, as it is; one character a byte."""
        return self.runner.table.read

    @property
    def _main_is_gone(self) -> bool:
        return self.runner.over or not self.runner.main.alive

    # What it does.

    def is_operation(self, text: str) -> bool:
        """Whether a line is for the machine: an operation, or anything after an actor's name and a colon."""
        words = split(text).pos
        if not words:
            return False
        if words[0].endswith(":") and len(words[0]) > 1:
            return True
        return words[0] in OPERATIONS

    def operate(self, text: str) -> str:
        """The answer to one line. Raises UsageError while another operation is gone through step by step."""
        self._not_stepping()
        self.done.append(("", text))
        answer = self.runner.line(text)
        self._see_the_end(text)
        return answer

    def _see_the_end(self, text: str) -> None:
        """The end of main by its own ``exit`` is that of the session."""
        words = split(text).pos
        self.over = self._main_is_gone and words[words[0] == "main:" :][:1] == ["exit"]

    def _not_stepping(self) -> None:
        if self.stepper is not None:
            raise UsageError(
                f"`{self.stepper.text}` is not done: step, or step end; walk, map, ps and explain look at it meanwhile"
            )

    def engine(self, name: str) -> None:
        """Choose how pages are moved from now on. Raises UsageError: there is no such engine."""
        self._not_stepping()
        try:
            self.machine.engine = name
        except ValueError as error:
            raise UsageError(str(error)) from None
        self.done.append(("engine", name))

    def back(self, n: int) -> list[str]:
        """Boot the machine anew, and do all but the last ``n`` things again; returns those n. Raises UsageError.

        The same seed and the same calls give the same machine, to the frame.
        """
        if not self.done:
            raise UsageError("there is nothing to undo: nothing has been done since boot")
        if not 0 < n <= len(self.done):
            raise UsageError(f"back goes 1 to {len(self.done)} steps, that is how many there were")
        self.tracing.close()
        again, undone = self.done[:-n], self.done[-n:]
        self.reboot(self.spec)
        redo: dict[str, Callable[[str], object]] = {
            "": self.operate, "engine": self.engine, "py": self.evaluate, "step": lambda text: list(self.step(text)),
            **{name: functools.partial(self.program, name) for name in LOOKALIKES},
        }  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for command, text in again:
                with contextlib.suppress(UsageError):  # it was refused before, too
                    redo[command](text)
                self.replace_main()
        return [f"{command} {text}".strip() for command, text in undone]

    def record(self, path: str) -> int:
        """Write what was done as a scenario; returns the number of operations. Raises UsageError.

        What is no operation stands there as a comment.
        """
        lines = [f"# machine {self.name}"]
        for command, text in self.done:
            begins = command == "step" and text not in ("", *UNTIL)
            if command == "" or begins:
                lines.append(text)
            elif command != "step":
                lines += [f"# {command} {line}" for line in text.split("\n")]
        try:
            with open(path, "x", encoding="latin-1", errors="surrogateescape") as file:
                file.write("\n".join(lines) + "\n")
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        return sum(not line.startswith("#") for line in lines)

    def nodes_table(self) -> Iterator[str]:
        """One line a node: CPUs, memory, use, distances."""
        topology = self.machine.topology
        yield f"{'node':<6}{'CPUs':<8}{'memory':<12}{'in use':<12}distance to {' '.join(map(str, topology.node_ids))}"
        for node in topology.nodes:
            total, free = self.machine.node_pages(node.id)
            cpus = ",".join(map(str, node.cpus)) or "-"
            sizes = f"{bytes_text(total * PAGE):<12}{bytes_text((total - free) * PAGE):<12}"
            distances = " ".join(str(topology.distance[node.id][other]) for other in topology.node_ids)
            yield f"{node.id:<6}{cpus:<8}{sizes}{distances}"

    def regions_of(self, name: str) -> Iterator[str]:
        """Each region of a process: pages per node as bars. Raises UsageError in the middle of a step."""
        self._not_stepping()
        actor = self.runner.actor(name)
        for region in actor.regions if actor else ():
            span = Span(region.base, region.length, region)
            _, pages = self.runner.inside(name, functools.partial(pages_per_node, span=span))
            yield f"{name}: {region.name}, {sum(pages.values())} of {span.pages} pages present, at {region.base:#x}"
            top = max(1, *pages.values()) if pages else 1
            yield from (
                line.rstrip()
                for line in node_bars(pages, self.nodes, top=top, width=_WIDTH, mark=bar_character())
            )

    def frame_map(self, view: str) -> Iterator[list[Piece]]:
        """The frames of each node, coloured by what `view` of tools.frames says."""
        names = {
            task.mm.asid: name
            for name in self.actors
            if (task := self.runner.task(name)) and task.mm is not None
        }
        return frame_map(self.machine, view, names)

    def processes(self) -> Iterator[str]:
        """ps: one line a process, with its pages by node."""
        names = {task.pid: name for name in self.actors if (task := self.runner.task(name))}
        yield f"{'pid':>7} {'name':10} {'CPU':>3} {'state':14} {'policy':20} pages by node"
        for task in self.machine.tasks:
            if task.mm is None or task.pid == INIT_PID:
                continue
            pages = Counter[int]()
            for vma in task.mm.vmas.values():
                pages.update(dict(enumerate(numa_maps_stats(task.mm, vma).nodes)))
            placed = " ".join(f"N{node}={n}" for node, n in sorted(pages.items()) if n) or "-"
            name = names.get(task.pid, task.comm)
            policy = mpol_to_str(task.ctx.policy)
            yield f"{task.pid:7} {name:10} {task.ctx.cpu:3} {task.state.value:14} {policy:20} {placed}"

    def walk(self, text: str) -> Iterator[str]:
        """The page-table walk of one address: [ACTOR:] RANGE. Raises UsageError."""
        actor, span = explain.place(self.runner, text, "walk [ACTOR:] RANGE, such as a+3 or 0x15fea000000")
        task = self.runner.task(actor)
        if task is None or task.mm is None:
            raise UsageError(f"{actor}: no memory")
        label = explain.region_label(self.runner)(task.pid, span.addr & -PAGE, 1)[0]
        try:
            return iter(list(walk(self.machine, task.mm, span.addr, label)))
        except ValueError as error:
            raise UsageError(str(error)) from None

    def step(self, text: str) -> Iterator[str]:
        """Begin an operation that stops at each page, or go on in it: OPERATION, page, pass or end.

        Raises UsageError.
        """
        if self.stepper is None:
            if not self.is_operation(text):
                raise UsageError("nothing to go on with; begin with: step migrate_pages self {0} {1}")
            self.stepper, until = Stepper(self.machine, self.runner, text), "page"
        elif (until := text or "page") not in UNTIL:
            raise UsageError(f"`{self.stepper.text}` is not done: step [{'|'.join(UNTIL)}]")
        self.done.append(("step", text))
        yield from self.stepper.step(until)
        if self.stepper.answer is not None:
            self._see_the_end(self.stepper.text)
            self.stepper = None

    def explain(self, text: str) -> Iterator[str]:
        """What the last calls did to pages, and why: the last one, or as ``text`` says. Raises UsageError."""
        return explain.answer(self.machine, self.runner, text)

    def strace(self, text: str) -> None:
        """Show system calls, or stop doing so: ``on`` and strace's options, or ``off``. Raises UsageError."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{error}; usage: {strace.USAGE}") from None
        try:
            if words == ["off"]:
                self._stracing = False
                self.machine.strace(False)
            elif words[:1] == ["on"]:
                strace.start(self.machine, strace.parse(words[1:]))
                self._stracing = True
            else:
                raise UsageError(f"usage: {strace.USAGE}")
        except OSError as error:
            raise UsageError(f"strace: {error.strerror}") from None

    def export(self, text: str) -> None:
        """Write /proc and /sys into a directory. Raises UsageError."""
        if not text.strip():
            raise UsageError("usage: export DIR")
        export(self.machine, Path(text.strip()).expanduser())

    def trace(self, text: str) -> Iterator[str]:
        """Record trace events, stop doing so, show them: ``on`` and options, ``off``, ``show``. Raises UsageError."""
        return self.tracing.command(text)

    def replace_main(self) -> str:
        """Start ``main`` anew if it has ended: what became of it, or nothing. The rest of the machine is as it was."""
        if not self._main_is_gone:
            return ""
        task = self.runner.main
        if task.alive:  # it has not answered in time
            send_signal(self.machine.kernel, task, SIGKILL)
            how = "took too long"
        elif task.exit_status < 0:
            how = f"was killed by {signal_name(-task.exit_status)}"
        else:
            how = f"has ended with status {task.exit_status}"
        with contextlib.suppress(KernelError):
            self.runner.start_main(self.machine)
        alive = self.runner.main.alive
        return f"main {how}; " + ("a new one has been started" if alive else "there is no room for a new one")

    def program(self, name: str, text: str) -> int:
        """Run a look-alike as a child of ``main``, as shells do: the exit status, -N for a death by signal N.

        It prints on the standard streams. Ctrl-C is for it, and not for ``main``. Raises UsageError.
        """
        self._not_stepping()
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
        self.done.append((name, text))

        def child(sys: Sys) -> NoReturn:
            sys.execve(lookalike(name), argv=words)

        def shell(actor: Actor) -> int:
            sys = actor.process.sys
            actions = sys.signal(SIGCHLD, Disposition.SIG_DFL), sys.signal(SIGINT, Disposition.SIG_DFL)
            try:
                pid = sys.fork(child)
                sys.signal(SIGINT, lambda signo, info: sys.kill(pid, SIGINT))
                while True:
                    with contextlib.suppress(InterruptedError):
                        return sys.wait(pid)[1]
            finally:
                sys.signal(SIGCHLD, actions[0])
                sys.signal(SIGINT, actions[1])

        try:
            return self.runner.inside("main", shell)
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}") from None
        except ActorDied as error:
            raise UsageError(str(error)) from None

    def evaluate(self, code: str) -> tuple[str, bool]:
        """Run Python code inside the process ``main``: what it printed or is worth, and whether it failed.

        Raises UsageError while an operation is gone through step by step.
        """
        self._not_stepping()
        self.done.append(("py", code))
        printed = _Printed()
        try:
            failed = self.runner.inside("main", lambda actor: self._evaluate(actor, code, printed))
        except ActorDied:
            failed = True
        return printed.getvalue().rstrip("\n"), failed

    def _evaluate(self, actor: Actor, code: str, printed: io.StringIO) -> bool:
        """The half that runs as the process: only its own program may use its ``sys``. Whether it failed."""
        sys = self.names["sys"] = actor.process.sys
        before = sys.signal(SIGINT, keyboard_interrupt)
        try:
            with contextlib.redirect_stdout(printed):
                try:
                    compiled = compile(code, TYPED, "eval", dont_inherit=True)
                except SyntaxError:
                    exec(compile(code, TYPED, "exec", dont_inherit=True), self.names)
                else:
                    value = eval(compiled, self.names)
                    if value is not None:
                        print(repr(value))
        except (TaskExit, ExecImage, GreenletExit):
            raise  # the process has ended, or has another program
        except BaseException as error:  # noqa: BLE001 - whatever a person typed may raise
            printed.write("".join(traceback.format_exception_only(error)))
            return True
        finally:
            # A Ctrl-C that came too late was meant for this line.
            sys.task.signal.pending.pop(SIGINT, None)
            if sys.task.alive:
                sys.task.sighand.action[SIGINT] = before
        return False
