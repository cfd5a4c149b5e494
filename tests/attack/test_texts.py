"""Machine files, machine names and scenarios with mistakes in them: one line on stderr and status 2, or they work."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from numalab.arch import topology
from numalab.arch.cmdline import TopologyError
from numalab.tools import cli

from tests.attack.mutations import mutated

ROOT = Path(__file__).parents[2]
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


def machines(seed: int, count: int, tmp_path: Path) -> int:
    """Load mutants; returns how many were refused. Whatever else is raised fails the test."""
    rng = random.Random(seed)
    file = tmp_path / "machine.toml"
    refused = 0
    for _ in range(count):
        if rng.randrange(2):
            file.write_bytes(mutated(rng, rng.choice(PRESETS)))
            spec = str(file)
        else:
            spec = mutated(rng, rng.choice(SPECS)).decode(errors="surrogateescape")
        began = time.monotonic()
        try:
            topology.load(spec)
        except TopologyError as error:
            assert str(error)  # noqa: PT017
            refused += 1
        assert time.monotonic() - began < SECONDS
    return refused


def scenarios(seed: int, count: int, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    rng = random.Random(seed)
    file = tmp_path / "mutant.scn"
    for n in range(count):
        file.write_bytes(mutated(rng, rng.choice(SCENARIOS)))
        began = time.monotonic()
        status = cli.main(["run", "--machine", "dual", str(file)])
        assert time.monotonic() - began < SECONDS, f"mutant {n} of seed {seed}"
        complaint = capsysbinary.readouterr().err
        assert status in {0, 1, 2}, f"mutant {n} of seed {seed}: {status}"
        assert b"Traceback" not in complaint, f"mutant {n} of seed {seed}"
        assert status != 2 or complaint.count(b"\n") == 1, f"mutant {n} of seed {seed}"


def test_machines_with_mistakes(tmp_path: Path) -> None:
    assert machines(1, 400, tmp_path) > 100


@pytest.mark.slow
def test_scenarios_with_mistakes(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    scenarios(2, 60, tmp_path, capsysbinary)


@pytest.mark.long
def test_many_machines_with_mistakes(tmp_path: Path) -> None:
    assert machines(3, 18_000, tmp_path) > 5_000


@pytest.mark.long
def test_many_scenarios_with_mistakes(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    scenarios(4, 2_000, tmp_path, capsysbinary)


@pytest.mark.parametrize("size", ["02M", "010M", "08M"])
def test_a_size_with_a_leading_zero_is_refused(size: str) -> None:
    """Linux would read it in octal, its writer would not."""
    with pytest.raises(TopologyError, match="is not a size"):
        topology.load(f"4x{size}")
