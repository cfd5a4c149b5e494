"""The pytest plugin: a NUMA machine for each test that asks for one. `docs/testing.md` tells.

It is loaded in every pytest run where numalab is installed: nothing else of numalab is, before a test wants a machine.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from numalab.tools.numa_machine import NumaMachine

_MACHINE: pytest.StashKey[NumaMachine] = pytest.StashKey()
_SEED: pytest.StashKey[int] = pytest.StashKey()


def _seed(text: str) -> int | str:
    return "random" if text == "random" else int(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("numalab")
    group.addoption(
        "--numa-seed", type=_seed, default=0, metavar="N|random",
        help="seed of the machines of numa_machine: the same seed gives the same run (default: 0)",
    )  # fmt: skip
    parser.addini(
        "numa_machine", "the machine that numa_machine boots for a test without a mark", default="2x1G"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "numa(spec, *, seed, migration, uid, ...): which machine numa_machine boots for the test; "
        "the arguments are those of numalab.boot(), and uid is the user that the test acts as",
    )
    seed = config.getoption("numa_seed")
    if seed == "random":  # processes of pytest-xdist take what the first one has drawn
        seed = getattr(config, "workerinput", {}).get("numa_seed", int.from_bytes(os.urandom(4)))
    config.stash[_SEED] = seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["numa_seed"] = node.config.stash[_SEED]


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.stash[_SEED]
    return f"numalab: --numa-seed={seed}" if seed else None


@pytest.fixture
def numa_machine(request: pytest.FixtureRequest) -> Iterator[NumaMachine]:
    """A NUMA machine of its own for the test, which the mark `numa` describes; docs/testing.md of numalab tells."""
    from numalab.tools.numa_machine import NumaMachine  # noqa: PLC0415

    config = request.config
    boot: dict[str, Any] = {"spec": config.getini("numa_machine"), "seed": config.stash[_SEED]}
    said_by = "numa_machine in the configuration"
    for mark in reversed(list(request.node.iter_markers("numa"))):  # the nearest one has the last word
        said_by = "@pytest.mark.numa"
        if len(mark.args) > 1:
            pytest.fail(
                f"{said_by}: a machine is one spec, not {', '.join(map(repr, mark.args))}", pytrace=False
            )
        boot |= {"spec": mark.args[0]} if mark.args else {}
        boot |= mark.kwargs
    try:
        machine = NumaMachine(**boot)
    except (TypeError, ValueError) as error:
        pytest.fail(f"{said_by}: {error}", pytrace=False)
    request.node.stash[_MACHINE] = machine
    with machine:
        yield machine


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its machine was, and what it did last."""
    report = yield
    machine = item.stash.get(_MACHINE, None)
    if report.failed and machine is not None:
        report.sections += [(title, text) for title, text in machine.report() if text]
    return report
