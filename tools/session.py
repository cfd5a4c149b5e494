"""One running machine as a person uses it from the shell: operations, pictures, Python.

What the shell shows, without the shell: no cmd2 here, so it can be tested and used by others.
"""

from __future__ import annotations

import contextlib
import functools
import io
import traceback
from collections.abc import Iterator
from typing import Any

from numalab.tools.picture import bar_character, bytes_text, node_bars
from numalab.tools.run import boot
from numalab.tools.scn.actor import Actor
from numalab.tools.scn.ops import OPERATIONS
from numalab.tools.scn.ops.migration import pages_per_node
from numalab.tools.scn.parse import PAGE, Span, split
from numalab.tools.scn.runner import Runner

__all__ = ["Session"]

_WIDTH = 40


class Session:
    """A machine, the processes on it, and the names that Python code left behind."""

    def __init__(self, spec: str) -> None:
        """Boot a machine. Raises UsageError for a spec that is none."""
        self._boot(spec)

    def _boot(self, spec: str) -> None:
        self.machine = boot(spec)
        self.runner = Runner(self.machine)
        self.names: dict[str, Any] = {"machine": self.machine}

    def reboot(self, spec: str) -> None:
        """Boot another machine; the old one is closed only if the new one came up."""
        old = self.machine
        self._boot(spec)
        old.close()

    def close(self) -> None:
        """Switch the machine off."""
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
    def over(self) -> bool:
        """Whether ``main`` has ended, and with it the session."""
        return self.runner.over

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
        return self.runner.line(text)

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

    def strace(self, on: bool) -> None:
        """Show system calls on standard error, or stop doing so."""
        self.machine.strace(on)

    def evaluate(self, code: str) -> tuple[str, bool]:
        """Run Python code inside the process ``main``: what it printed or is worth, and whether it failed."""
        return self.runner.inside("main", lambda actor: self._evaluate(actor, code))

    def _evaluate(self, actor: Actor, code: str) -> tuple[str, bool]:
        """The half that runs as the process: only its own program may use its ``sys``."""
        self.names["sys"] = actor.process.sys
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                try:
                    compiled = compile(code, "<py>", "eval", dont_inherit=True)
                except SyntaxError:
                    exec(compile(code, "<py>", "exec", dont_inherit=True), self.names)
                else:
                    value = eval(compiled, self.names)
                    if value is not None:
                        print(repr(value))
        except Exception as error:  # noqa: BLE001 - whatever a person typed may raise
            lines = traceback.format_exception_only(error)
            return printed.getvalue() + "".join(lines).rstrip(), True
        return printed.getvalue().rstrip("\n"), False
