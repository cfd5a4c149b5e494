"""docs/testing.md: its files make a project, whose tests pass, and fail as the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import numalab.tools.numa_machine  # noqa: F401 - pytester forgets what its pytests import, and numpy is imported once

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).resolve().parents[2] / "docs/testing.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = {match[1]: text for _, text in BLOCKS if (match := re.match(r"# ([\w.]+)\n", text))}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name, text in FILES.items():
        (pytester.path / name).write_text(text)
    monkeypatch.syspath_prepend(pytester.path)
    return pytester


def test_its_tests_pass(project: pytest.Pytester) -> None:
    result = project.runpytest("-p", "no:xdist", "--strict-markers", "--deselect=test_pinned.py")
    result.assert_outcomes(passed=15, deselected=1)


def test_the_failure_that_it_shows(project: pytest.Pytester) -> None:
    result = project.runpytest("-p", "no:xdist", "test_pinned.py")
    result.assert_outcomes(failed=1)
    [shown] = [text for kind, text in BLOCKS if kind == "text"]
    assert shown in result.stdout.str()


def test_every_block_is_used() -> None:
    """Files are parts of the project, one text is the failure, one program has no file."""
    assert len(BLOCKS) == len(FILES) + 2
    [program] = [text for kind, text in BLOCKS if kind == "python" and text not in FILES.values()]
    exec(program, {})
