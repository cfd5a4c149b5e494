"""The generator writes what it should, and numalab alone survives it under every engine."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.fuzz.alone import answers, checked
from tests.fuzz.coverage import Coverage
from tests.fuzz.generator import generate
from tests.fuzz.shrink import Case, shrink
from tests.fuzz.store import script_of
from tests.fuzz.world import MACHINES

CALLS = {
    "mmap", "munmap", "mprotect", "mremap", "mlock", "munlock", "madvise", "process_madvise", "brk", "touch", "fill",
    "verify", "set_mempolicy", "mbind", "get_mempolicy", "set_home_node", "migrate_pages", "move_pages", "spawn",
    "exit", "exec", "setaffinity", "pin", "swapoff", "fallocate", "cgjoin", "mkdir", "setuid", "drop_cap",
}  # fmt: skip
ERRORS = {"EINVAL", "EFAULT", "EPERM", "ESRCH", "ENODEV", "EIO", "ENOMEM", "ENOENT"}

VERIFY = re.compile(r" verify (\w+)")


@pytest.mark.parametrize("machine", MACHINES)
def test_a_seed_makes_one_scenario(machine: str) -> None:
    assert generate(machine, 1) == generate(machine, 1) != generate(machine, 2)


@pytest.mark.slow
def test_it_is_not_bland() -> None:
    coverage = Coverage()
    for seed in range(150):
        coverage.add(answers("quad", generate("quad", seed)))
    assert {name for name, _ in coverage.counts} >= CALLS
    assert {outcome for _, outcome in coverage.counts} >= ERRORS
    failed = sum(n for (_, outcome), n in coverage.counts.items() if outcome != "ok")
    assert 0.03 < failed / coverage.counts.total() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("machine", MACHINES)
def test_every_engine_keeps_invariants_and_contents(machine: str, seed: int) -> None:
    """Where pages are is the engine's affair; what they say is not, nor what a call is refused for.

    But what MADV_FREE gave up may be lost, and on its way through swap it is not.
    """
    script = generate(machine, 7000 + seed)
    given_up = set(re.findall(r"madvise (\w+)\S* free\b", script))
    said = {engine: list(checked(machine, script, engine)) for engine in ("batched", "direct", "swap")}
    contents = {
        name: [line for line in lines if (found := VERIFY.search(line)) and found[1] not in given_up]
        for name, lines in said.items()
    }
    assert contents["direct"] == contents["batched"]
    assert contents["swap"] == contents["batched"]
    # A region of huge pages may be refused where it is to be made; other lines are never wrong.
    wrong = [line for lines in said.values() for line in lines if "script-error" in line]
    assert all("no-such-region" in line for line in wrong)


def test_a_scenario_can_be_made_from_its_answers() -> None:
    script = generate("dual", 3)
    said = answers("dual", script)
    assert answers("dual", script_of(said)) == said


def test_shrinking_leaves_what_it_takes() -> None:
    """A kernel that answers `pin` wrongly if something was mapped before."""

    def ours(script: str) -> str:
        return "".join(f"{i} {line} => ret=0\n" for i, line in enumerate(script.splitlines(), 1))

    def ask(scripts: Mapping[str, str]) -> Mapping[str, str]:
        said = {name: ours(script) for name, script in scripts.items()}
        return {
            name: text.replace("pin a => ret=0", "pin a => ret=1") if "mmap" in text else text
            for name, text in said.items()
        }

    lines = ["getcpu", "mmap a 4", "touch a w", "nodes a", "state a", "pin a", "unpin"]
    [short] = shrink([Case("one", lines[:6], "pin a")], ask, ours)
    assert short.lines == ["mmap a 4", "pin a"]
