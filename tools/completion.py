"""What may stand at the end of a line of the shell: candidates for completion.

An operation's usage text says what each of its arguments is, so the candidates follow from it; only the
names of regions, actors and nodes come from the running machine.  What commands of the shell take stands here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from numalab.arch.machine_file import preset_names
from numalab.mm.migrate.engine import ENGINES
from numalab.syscalls.explain import CALLS
from numalab.tools.frames import VIEWS
from numalab.tools.scn.ops import OPERATIONS
from numalab.tools.scn.parse import ADVICE, MODES

__all__ = ["World", "candidates"]

_TARGETS = ("self", "me", "init", "kthread", "nopid")
_SPECIAL_RANGES = ("null", "bad", "kern")


@dataclass(frozen=True)
class World:
    """What the machine has now: names that a line may use."""

    regions: Iterable[str] = ()
    actors: Iterable[str] = ("main",)
    nodes: Iterable[int] = ()
    commands: Iterable[str] = field(default_factory=tuple)


def candidates(text: str, world: World) -> list[str]:
    """Words that can stand where the last word of ``text`` stands (it ends at the cursor)."""
    words = text.split()
    word = "" if not text or text[-1].isspace() else words.pop()
    steps = ["page", "pass", "end", *(f"{actor}:" for actor in world.actors)] if words == ["step"] else []
    if words and words[0] == "step":
        words = words[1:] or ["main:"]  # what follows it is an operation, too
    if words and words[0].endswith(":"):
        # The operation of another actor: its name is no command of the shell, so only operations can follow.
        words = words[1:]
        found = [*OPERATIONS, *steps] if not words else _arguments(words, word, world)
    elif not words:
        found = [*OPERATIONS, *world.commands, *(f"{actor}:" for actor in world.actors)]
    elif words[0] in OPERATIONS:
        found = _arguments(words, word, world)
    elif words[0] == "help":
        found = [*OPERATIONS, *world.commands]
    else:
        found = _of_command(words[0], world) if len(words) == 1 else []
    return sorted({c for c in found if c.startswith(word)})


def _of_command(command: str, world: World) -> list[str]:
    """What may follow a command of the shell."""
    places = [*world.regions, *(f"{actor}:" for actor in world.actors)]
    found: dict[str, Iterable[str]] = {
        "engine": ENGINES, "explain": [*CALLS, *places], "machine": preset_names(), "map": VIEWS,
        "regions": world.actors, "walk": places,
    }  # fmt: skip
    return list(found.get(command, ()))


def _arguments(words: list[str], word: str, world: World) -> list[str]:
    """Candidates for the next argument of the operation ``words[0]``."""
    if words[0] not in OPERATIONS:
        return []
    usage = OPERATIONS[words[0]].usage
    options = dict(re.findall(r"\[(\w+)=([^\]]*)\]", usage))
    key, equals, value = word.partition("=")
    if equals and key in options:
        return [f"{key}={choice}" for choice in _joined(options[key], value, world)]
    # Positional arguments come in order; key=value may stand between them and takes no place.
    given = [w for w in words[1:] if "=" not in w]
    kinds = re.sub(r"\[[^\]]*\]", "", usage).split()
    found = _kind(kinds[len(given)], word, world) if len(given) < len(kinds) else []
    # Each key=value is offered until it is there.
    there = {w.partition("=")[0] for w in words if "=" in w}
    return found + [f"{k}=" for k in options if k not in there]


def _joined(choices: str, value: str, world: World) -> list[str]:
    """Values of a key, of which several may be joined by ``|`` or ``,``."""
    head = value[: max(value.rfind("|"), value.rfind(",")) + 1]
    return [head + choice for choice in _kind(choices, value, world)]


def _kind(kind: str, word: str, world: World) -> list[str]:
    """Candidates for one kind of argument, as the usage names it."""
    nodes = [str(node) for node in world.nodes]
    if kind in ("RANGE", "REGION", "ADDR", "PAGES"):
        return [*world.regions, *_SPECIAL_RANGES]
    if kind == "MODE":
        # Flags are joined to the mode, so only what follows the last bar is being typed.
        head = word[: word.rfind("|") + 1]
        return [head + mode for mode in MODES]
    if kind in ("MASK", "FROM", "TO"):
        return [*(f"{{{node}}}" for node in nodes), f"{{{','.join(nodes)}}}", "{}", "all", "null"]
    if kind == "TARGET":
        return [*world.actors, *_TARGETS]
    if kind == "NODES":
        return [*nodes, "query"]
    if kind == "NODE":
        return nodes
    if kind == "ADVICE":
        return list(ADVICE)
    if kind.islower() or "|" in kind:  # the alternatives themselves
        return re.split(r"[|,]", kind)
    return []
