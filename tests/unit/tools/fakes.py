"""A process without a machine behind it: enough for operations to run against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

from numalab.tools.scn.actor import Actor, Table
from numalab.tools.scn.process import Unsupported


class FakeProcess:
    """Answers system calls from a list, round and round; None in it stands for a call that does not exist.

    Loads give zeros, stores are kept by address, calls are kept in order.
    """

    def __init__(self, answers: Sequence[int | None] = (0,)) -> None:
        self.answers: Iterator[int | None] = cycle(answers)
        self.stored: dict[int, bytes] = {}
        self.calls: list[tuple[str, tuple[int, ...]]] = []

    def call(self, name: str, *args: int) -> int:
        self.calls.append((name, args))
        answer = next(self.answers)
        if answer is None:
            raise Unsupported(name)
        return answer

    def load(self, addr: int, size: int) -> bytes:
        kept = self.stored.get(addr, b"")
        return kept[:size].ljust(size, b"\0")

    def store(self, addr: int, data: bytes) -> None:
        self.stored[addr] = bytes(data)

    def touch(self, addr: int, stride: int, count: int, write: bool) -> None:
        pass

    def obstruct(self, kind: str, addr: int, pages: int, ns: int | None) -> list[Callable[[], None]]:
        return []

    def set_disks(self, latency: int, page: int, failing: bool) -> None:
        pass


class FakeController:
    """Says yes to every process."""

    def spawn(self, parent: Actor, seat: int) -> int:
        return 1000 + seat

    def execute(self, actor: Actor) -> int:
        return 0


def fake_actor(answers: Sequence[int | None] = (0,)) -> tuple[Actor, FakeProcess]:
    process = FakeProcess(answers)
    return Actor(process, Table(), FakeController()), process  # type: ignore[arg-type]
