"""What a random scenario must know of the machine while it is being written: who lives, and what they have mapped."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

__all__ = ["HUGETLB_SIZES", "HUGE_SIZES", "MACHINES", "SIZES", "Actor", "Machine", "Region", "World"]

#: Pages of a region; several are no multiple of what a PTE table, a batch or an interleaving takes.
SIZES = (1, 2, 3, 5, 8, 12, 16, 17, 24, 33, 40)
#: Pages of a region in which huge pages fit, some with a rest behind them; pages of one of hugetlb.
HUGE_SIZES = (512, 700, 1024, 1030)
HUGETLB_SIZES = (512, 1024, 1536)


@dataclass(frozen=True)
class Machine:
    """What a scenario may say of a machine: nodes with memory, nodes with CPUs, and an id that no node has."""

    memory: tuple[int, ...]
    cpus: tuple[int, ...]
    missing: int


MACHINES = {
    "quad": Machine((0, 1, 2, 3), (0, 1, 2, 3), 4),
    "asym": Machine((0, 1, 2, 3), (0, 1, 2, 3), 4),
    "dual": Machine((0, 1), (0, 1), 2),
    "odd": Machine((0, 2, 3), (0, 1, 2), 4),
    "eight": Machine((0, 1, 3, 4, 6, 7), (0, 1, 2, 3, 4, 5), 8),
}


@dataclass(frozen=True)
class Region:
    """A mapping by its name. hazy: which node a page lies on depends on an inode's number, so nobody may ask."""

    name: str
    pages: int
    kind: str  # private, shared, file, filecopy, memfd, hugetlb, hugetlb-shared
    path: str = ""
    hazy: bool = False

    @property
    def shared(self) -> bool:
        return self.kind in {"shared", "file", "memfd", "hugetlb-shared"}

    @property
    def huge(self) -> bool:
        """It may hold transparent huge pages, also the one of zeros, which here is the small one 512 times."""
        return self.kind == "private" and self.pages >= HUGE_SIZES[0]

    @property
    def unit(self) -> int:
        """Pages of which a part of it is mostly made."""
        return 512 if self.kind.startswith("hugetlb") else 1


@dataclass
class Actor:
    """A process. interleaves: its task policy does."""

    name: str
    regions: dict[str, Region] = field(default_factory=dict)
    interleaves: bool = False
    parent: str = ""

    def child(self, name: str) -> Actor:
        return replace(self, name=name, regions=dict(self.regions), parent=self.name)

    @property
    def prefix(self) -> str:
        return "" if self.name == "main" else f"{self.name}: "


class World:
    """The state that the lines written so far have led to, and the lines."""

    def __init__(self, machine: str, rng: random.Random) -> None:
        self.machine = MACHINES[machine]
        self.rng = rng
        self.actors = {"main": Actor("main")}
        self.dead: dict[str, str] = {}  # with its parent
        self.files: dict[str, int] = {}
        self.blurred: set[str] = set()
        self.lines: list[str] = []
        self.names = 0
        self.huge = False
        self.hugetlb = False
        #: Directories in which files are made.
        self.directories = ["/tmp"]
        self.swap = True
        self.pinned = False
        self.group = False
        self.moved = False
        #: Who marked the frames of which region, until some frame may have been given back and taken again.
        self.marked = ""
        #: Regions of which pages count as used though no program touched them, and those of which a page table may not
        #: know of a use. If both, smaps says what else waited in the CPU's batch.
        self.used: set[str] = set()
        self.aged: set[str] = set()

    # Names and choices.

    def actor(self) -> Actor:
        return self.rng.choice(list(self.actors.values()))

    def region(self, actor: Actor) -> Region | None:
        return self.rng.choice(list(actor.regions.values())) if actor.regions else None

    def new_name(self) -> str:
        self.names += 1
        return "abcdefghijklmnopqrstuvwxyz"[self.names - 1]

    def chance(self, percent: int) -> bool:
        return self.rng.random() * 100 < percent

    def blur(self, path_or_name: str) -> None:
        """A region of this name or file is hazy from now on, for everybody who has it."""
        self.blurred.add(path_or_name)
        for actor in self.actors.values():
            for name, region in actor.regions.items():
                if path_or_name in {name, region.path or None}:
                    actor.regions[name] = replace(region, hazy=True)

    def zombies(self) -> list[str]:
        """Who has ended and has not been waited for; when init does so with orphans, nobody knows."""
        return [name for name, parent in self.dead.items() if parent in self.actors]

    # Lines.

    def say(self, actor: Actor, text: str) -> None:
        self.lines.append(actor.prefix + text)

    # Words of the language.

    def part(self, region: Region) -> str:
        """A range in a region: all of it, or a part; seldom one that reaches over its end."""
        rng = self.rng
        if self.chance(35):
            return region.name
        unit = region.unit if self.chance(80) else 1
        first = rng.randrange(0, region.pages, unit)
        length = rng.randint(1, (region.pages - first) // unit) * unit
        if self.chance(3):
            length += rng.randint(1, 4)
        return f"{region.name}+{first}:{length}" if first or length != region.pages else region.name

    def place(self, region: Region) -> str:
        return f"{region.name}+{self.rng.randrange(region.pages)}"

    def node(self) -> int:
        """One node, mostly one with memory."""
        if self.chance(94):
            return self.rng.choice(self.machine.memory)
        return self.rng.choice((self.machine.missing, 1, self.machine.missing + 3, 63))

    def nodes(self) -> list[int]:
        few = self.rng.randint(1, len(self.machine.memory))
        return sorted(self.rng.sample(self.machine.memory, few))

    def mask(self) -> str:
        """A mask of nodes; now and then one that names a node that is not there, none, or no readable memory."""
        rng = self.rng
        if self.chance(88):
            chosen = set(self.nodes())
            if self.chance(6):
                chosen.add(self.machine.missing)
            if self.chance(6):
                chosen.add(rng.choice(self.machine.cpus))
            return "{" + ",".join(map(str, sorted(chosen))) + "}"
        edge = f"edge:{{{rng.choice(self.machine.memory)}}}"
        return rng.choice(("{}", "{}", "null", "bad", "all", "kern", "raw:0", edge))

    def maxnode(self) -> str:
        if self.chance(92):
            return ""
        return (
            f" maxnode={self.rng.choice((0, 1, 2, 3, 4, 5, 64, 65, 129, 1024, 4097, 32768, 32769, 100000))}"
        )

    def flags(self, *known: str, wrong: int = 4) -> str:
        """Some of the flags joined, none of them now and then; seldom a bit that means nothing."""
        chosen = [name for name in known if self.chance(45)]
        if self.chance(wrong):
            chosen.append(self.rng.choice(("0x8", "0x10", "0x100", "0x8000")))
        return "|".join(chosen)
