"""A machine on the plain-Python twins alone answers as Linux did."""

from pathlib import Path

import pytest

import numalab
from numalab.tools.run import scenario_output

HERE = Path(__file__).parent
SCENARIOS = (
    "migrate-basic",
    "file-private-migrate",
    "file-shared",
    "file-truncate",
    "fork-cow-migrate",
    "fork-tree-migrate",
    "hugetlb-fork",
    "hugetlb-mix",
    "hugetlb-policy",
    "mbind-strict-move",
    "migrate-zero-page",
    "mlock-migrate",
    "mlock-ranges",
    "move-pages-mixed-statuses",
    "mprotect-and-move",
    "mremap-policy",
    "task-policy-fallback",
    "vma-merge-anon-vma",
    "weighted-interleave",
)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_on_twins(scenario: str) -> None:
    recorded = (HERE / "golden/quad" / f"{scenario}.out").read_text(encoding="latin-1").splitlines()
    with numalab.boot("quad", twins=True) as machine:
        kernels = vars(machine.kernel.mem.k).values()
        assert all(kernel.__name__.endswith("_reference") for kernel in kernels)
        answers = list(scenario_output(machine, (HERE / "scenarios" / f"{scenario}.scn").read_bytes()))
    assert recorded[0].startswith("# linux 6.12.")
    assert answers == recorded[1:]
