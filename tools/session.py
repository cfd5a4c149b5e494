"""One running machine as a person uses it from the shell: operations, pictures, Python.

What the shell shows, without the shell: no cmd2 here, so it can be tested and used by others.
"""

from __future__ import annotations

import contextlib
import functools
import io
import shlex
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

from greenlet import GreenletExit

from numalab.arch.errno import ENOMEM, KernelError
from numalab.kernel.kill import send_signal
from numalab.kernel.signal import SIGINT, SIGKILL, signal_name
from numalab.kernel.task import TaskExit
from numalab.syscalls.sys import ExecImage
from numalab.tools import explain, strace
from numalab.tools.errors import UsageError
from numalab.tools.interrupt import TYPED, keyboard_interrupt
from numalab.tools.picture import bar_character, bytes_text, node_bars
from numalab.tools.run import boot
from numalab.tools.scn.actor import Actor
from numalab.tools.scn.ops import OPERATIONS
from numalab.tools.scn.ops.migration import pages_per_node
from numalab.tools.scn.parse import PAGE, Span, split
from numalab.tools.scn.runner import ActorDied, Runner

__all__ = ["Session"]

_WIDTH = 40


def _leave(code: object = None) -> NoReturn:
    raise SystemExit(code)


class Session:
    """A machine, the processes on it, and the names that Python code left behind.

    over: whether ``main`` was told to exit, and with it the session.
    """

    def __init__(self, spec: str) -> None:
        """Boot a machine. Raises UsageError for a spec that is none, or one too small."""
        self.over = False
        self._boot(spec)

    def _boot(self, spec: str) -> None:
        machine = boot(spec)
        try:
            runner = Runner(machine)
            if not runner.main.alive:
                raise KernelError(ENOMEM)
        except KernelError:
            machine.close()
            raise UsageError(f"machine {spec!r} is too small for a process of the shell") from None
        self.machine, self.runner = machine, runner
        machine.explain_calls()
        # Python's own exit() closes the terminal as well.
        self.names: dict[str, Any] = {"machine": self.machine, "exit": _leave, "quit": _leave}

    def reboot(self, spec: str) -> None:
        """Boot another machine; the old one is closed only if the new one came up."""
        old = self.machine
        self._boot(spec)
        with contextlib.suppress(OSError):
            old.strace(False)
        old.close()

    def close(self) -> None:
        """Switch the machine off."""
        with contextlib.suppress(OSError):
            self.machine.strace(False)
        self.machine.close()

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
        """The answer to one line."""
        answer = self.runner.line(text)
        words = split(text).pos
        self.over = self._main_is_gone and words[words[0] == "main:" :][:1] == ["exit"]
        return answer

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

    def picture(self, name: str) -> Iterator[str]:
        """The nodes, then each region of a process: pages per node as bars."""
        yield from self.nodes_table()
        actor = self.runner.actor(name)
        for region in actor.regions if actor else ():
            span = Span(region.base, region.length, region)
            _, pages = self.runner.inside(name, functools.partial(pages_per_node, span=span))
            yield ""
            yield f"{name}: {region.name}, {sum(pages.values())} of {span.pages} pages present, at {region.base:#x}"
            top = max(1, *pages.values()) if pages else 1
            yield from (
                line.rstrip()
                for line in node_bars(pages, self.nodes, top=top, width=_WIDTH, mark=bar_character())
            )

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
                self.machine.strace(False)
            elif words[:1] == ["on"]:
                strace.start(self.machine, strace.parse(words[1:]))
            else:
                raise UsageError(f"usage: {strace.USAGE}")
        except OSError as error:
            raise UsageError(f"strace: {error.strerror}") from None

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

    def evaluate(self, code: str) -> tuple[str, bool]:
        """Run Python code inside the process ``main``: what it printed or is worth, and whether it failed."""
        printed = io.StringIO()
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
