"""Many small machines: in several processes of the host, with a word now and then, and from where a run has stopped.

A record has a line for each step that is done: its first seed, how many, what happened, and which seeds went wrong. It
belongs to one state of the tree: what another one has recorded says nothing about this one.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.storm import Storm, mistakes

__all__ = ["Part", "many", "storms"]

STEP = 100  # machines that a process of the host takes at a time
SECONDS = 10  # between two words


@dataclass
class Part:
    """What happened on some machines. wrong: by seed, what must not."""

    seed: int
    count: int
    tally: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)

    def add(self, other: Part) -> None:
        self.count += other.count
        self.tally.update(other.tally)
        self.wrong.update(other.wrong)

    def __str__(self) -> str:
        kinds = {
            "bytes lost": "lost",
            "invariants broken": "broken",
            "left without a reason": "left: no reason",
        }
        counts = ", ".join(f"{words} {self.tally[kind]}" for words, kind in kinds.items())
        return f"{self.count:,} small machines, {self.tally['moved']:,} pages moved, {counts}, wrong {len(self.wrong)}"


def storms(seed: int, count: int) -> Part:
    """So many machines, from this seed on. One whose kernel fails is a mistake as well, and the others go on."""
    part = Part(seed, count)
    for number in range(seed, seed + count):
        tally: Counter[str] = Counter()
        failure = ""
        try:
            Storm(number, tally).run()
        except Exception as error:  # noqa: BLE001 - whatever it is, this machine has failed
            tally["failed"] += 1
            failure = f"{type(error).__name__}: {error}"
        part.tally.update(tally)
        if wrong := mistakes(tally):
            part.wrong[str(number)] = f"{wrong} {failure}".strip()
    return part


def many(pool: Executor, seed: int, count: int, record: Path | None = None) -> Part:
    """The same in steps, by several processes; those that the record has are not run again."""
    done = {(part.seed, part.count): part for part in _recorded(record)}
    steps = [(at, min(STEP, seed + count - at)) for at in range(seed, seed + count, STEP)]
    whole = Part(seed, 0)
    for step in steps:
        if step in done:
            whole.add(done[step])
    began, told, before = time.monotonic(), time.monotonic(), whole.count
    for each in as_completed([pool.submit(storms, *step) for step in steps if step not in done]):
        part = each.result()
        if record is not None:
            with record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(vars(part)) + "\n")
        whole.add(part)
        now = time.monotonic()
        if now - told >= SECONDS:
            rate = (whole.count - before) / (now - began)
            sys.stderr.write(f"{whole}; of {count:,}, {rate:.0f} a second\n")
            told = now
    return whole


def _recorded(record: Path | None) -> Iterator[Part]:
    if record is not None and record.exists():
        for line in record.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield Part(row["seed"], row["count"], Counter(row["tally"]), row["wrong"])
