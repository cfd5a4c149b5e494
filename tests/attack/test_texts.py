"""Machine files and names, scenarios and recordings with mistakes: one line on stderr and status 2, or they work.

The functions in front return what they do not like, and the tests behind them want nothing of it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from numalab.arch import topology
from numalab.arch.cmdline import TopologyError
from numalab.tools import cli, conform
from numalab.tools.errors import UsageError

from tests.attack.mutations import mutated

ROOT = Path(__file__).parents[2]
CONFORMANCE = ROOT / "tests/conformance"
#: A scenario that takes no time.
SHORT = "mbind-move-untouched"
PRESETS = [path.read_bytes() for path in sorted((ROOT / "arch/presets").glob("*.toml"))]
SCENARIOS = [path.read_bytes() for path in sorted((ROOT / "tests/conformance/scenarios").glob("*.scn"))]
SPECS = (
    b"4x512M",
    b"2x4M",
    b"numa=fake=4",
    b"numa=fake=2*64M,32M",
    b"numa=fake=4U",
    b"quad",
    b"quad page_table_levels=5",
)
#: What one mutant may take: a machine of absurd size must be refused, not tried.
SECONDS = 20


def machines(seed: int, count: int, tmp_path: Path) -> tuple[int, list[str]]:
    """Load mutants: how many were refused, and what went wrong."""
    rng = random.Random(seed)
    file = tmp_path / "machine.toml"
    refused, wrong = 0, []
    for n in range(count):
        if rng.randrange(2):
            file.write_bytes(mutated(rng, rng.choice(PRESETS)))
            spec = str(file)
        else:
            spec = mutated(rng, rng.choice(SPECS)).decode(errors="surrogateescape")
        began = time.monotonic()
        try:
            topology.load(spec)
        except TopologyError as error:
            refused += 1
            if not str(error):
                wrong.append(f"mutant {n}: refused without a word")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no answer
            wrong.append(f"mutant {n}: {type(error).__name__}: {error}")
        if time.monotonic() - began > SECONDS:
            wrong.append(f"mutant {n}: it took too long")
    return refused, wrong


class Command:
    """The command line, and what is wrong with how it takes a file. statuses: how often it ended with which."""

    def __init__(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capsysbinary
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []

    def run(self, mutant: str, *words: str) -> int:
        """Status, one line for wrong use, no traceback, and not for ever."""
        began = time.monotonic()
        try:
            status = cli.main(words)
        except Exception as error:  # noqa: BLE001 - it would be a traceback
            status = -1
            self.wrong.append(f"{mutant}: {type(error).__name__}: {error}")
        complaint = self._capture.readouterr().err
        self.statuses[status] += 1
        if time.monotonic() - began > SECONDS:
            self.wrong.append(f"{mutant}: it took too long")
        if status not in {0, 1, 2}:
            self.wrong.append(f"{mutant}: status {status}")
        if b"Traceback" in complaint:
            self.wrong.append(f"{mutant}: a traceback")
        lines = complaint.count(b"\n")
        if status == 2 and lines != 1:
            self.wrong.append(f"{mutant}: {lines} lines of complaint")
        return status


def scenarios(seed: int, count: int, tmp_path: Path, command: Command) -> list[str]:
    """Run mutants: what went wrong."""
    rng = random.Random(seed)
    file = tmp_path / "mutant.scn"
    for n in range(count):
        file.write_bytes(mutated(rng, rng.choice(SCENARIOS)))
        command.run(f"mutant {n}", "run", "--machine", "dual", str(file))
    return command.wrong


def recordings(seed: int, count: int, tmp_path: Path, command: Command) -> list[str]:
    """Compare with mutants of a recording: what went wrong. A recording that says something else is never equal."""
    rng = random.Random(seed)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "golden/dual").mkdir(parents=True)
    (tmp_path / "scenarios/short.scn").write_bytes((CONFORMANCE / f"scenarios/{SHORT}.scn").read_bytes())
    recorded = (CONFORMANCE / f"golden/dual/{SHORT}.out").read_bytes()
    wanted = conform.parse_answers(recorded.decode("latin-1"))
    for n in range(count):
        mutant = mutated(rng, recorded) if n else recorded
        (tmp_path / "golden/dual/short.out").write_bytes(mutant)
        status = command.run(f"mutant {n}", "conform", str(tmp_path))
        try:
            right = int(conform.parse_answers(mutant.decode("latin-1")) != wanted)
        except UsageError:
            right = 2
        if status != right:
            command.wrong.append(f"mutant {n}: status {status}, not {right}")
    return command.wrong


@pytest.fixture
def command(capsysbinary: pytest.CaptureFixture[bytes]) -> Command:
    return Command(capsysbinary)


def test_machines_with_mistakes(tmp_path: Path) -> None:
    refused, wrong = machines(1, 400, tmp_path)
    assert not wrong
    assert refused > 100


@pytest.mark.slow
def test_scenarios_with_mistakes(tmp_path: Path, command: Command) -> None:
    assert not scenarios(2, 60, tmp_path, command)
    assert command.statuses[0] > 20


def test_recordings_with_mistakes(tmp_path: Path, command: Command) -> None:
    assert not recordings(5, 120, tmp_path, command)
    assert min(command.statuses[status] for status in (0, 1, 2)) > 5


@pytest.mark.long
def test_many_machines_with_mistakes(tmp_path: Path) -> None:
    refused, wrong = machines(3, 18_000, tmp_path)
    assert not wrong
    assert refused > 5_000


@pytest.mark.long
def test_many_scenarios_with_mistakes(tmp_path: Path, command: Command) -> None:
    assert not scenarios(4, 2_000, tmp_path, command)
    assert command.statuses[0] > 500


@pytest.mark.long
def test_many_recordings_with_mistakes(tmp_path: Path, command: Command) -> None:
    assert not recordings(6, 5_000, tmp_path, command)


def dies(words: object) -> int:
    raise IndexError("list index out of range")


def chatters(words: object) -> int:
    sys.stderr.write("this\nis wrong\n")
    return 2


def traces(words: object) -> int:
    sys.stderr.write("Traceback (most recent call last):\n")
    return 1


@pytest.mark.parametrize("tool", [dies, chatters, traces, lambda words: 3])
def test_a_tool_that_takes_mistakes_badly_is_found(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tool: Callable[[object], int]
) -> None:
    monkeypatch.setattr(cli, "main", tool)
    assert len(scenarios(2, 5, tmp_path, command)) >= 5
    command.wrong.clear()
    assert len(recordings(2, 5, tmp_path, command)) >= 5


def test_a_loader_that_takes_mistakes_badly_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "load", dies)
    assert machines(1, 5, tmp_path)[1] == [
        f"mutant {n}: IndexError: list index out of range" for n in range(5)
    ]


KINDS_OF_FILE: dict[str, Callable[[Path], object]] = {
    "a directory": lambda path: path.mkdir(),
    "nothing": lambda path: None,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "zeros, sparse": lambda path: path.write_bytes(b"") or os.truncate(path, 1 << 22),
    "one long line": lambda path: path.write_bytes(b"1" * (1 << 20)),
    "another text": lambda path: path.write_bytes(bytes(range(256)) * 64),
}


@pytest.mark.parametrize("kind", KINDS_OF_FILE)
def test_what_is_no_recording(tmp_path: Path, command: Command, kind: str) -> None:
    """It is named in one line; a recording that is not there is none, and so there is nothing to compare."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "golden/dual").mkdir(parents=True)
    (tmp_path / "scenarios/short.scn").write_text("mmap a 1\n")
    KINDS_OF_FILE[kind](tmp_path / "golden/dual/short.out")
    assert command.run(kind, "conform", str(tmp_path)) == 2
    assert not command.wrong


@pytest.mark.parametrize("size", ["02M", "010M", "08M"])
def test_a_size_with_a_leading_zero_is_refused(size: str) -> None:
    """Linux would read it in octal, its writer would not."""
    with pytest.raises(TopologyError, match="is not a size"):
        topology.load(f"4x{size}")
