"""numalab bench: a migration measured, and the table."""

import pytest

from numalab.tools import bench, cli
from numalab.tools.errors import UsageError


@pytest.mark.parametrize(("engine", "passes"), [("swap", 11), ("direct", 10)])
def test_held_pages_stay_through_all_passes(engine: str, passes: int) -> None:
    result = bench.migration(engine, 64, 0.125)
    assert (result.obstacles, result.left, len(result.virtual)) == (8, 8, passes)
    assert result.host > 0
    assert all(ns > 0 for ns in result.virtual)


def test_without_obstacles_one_pass_copies(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "SIZES", (32,))
    monkeypatch.setattr(bench, "SHARES", (0.0,))
    assert cli.main(["bench", "migrate"]) == 0
    head, swap, direct, batched = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["engine", "pages", "held", "left"]
    assert [line.split()[5] for line in (swap, direct, batched)] == ["2", "1", "1"]
    assert max(map(len, (head, swap, direct, batched))) < 100


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "tea"]) == 2
    assert capsys.readouterr().err == "numalab: 'tea' cannot be measured: use migrate\n"
    with pytest.raises(UsageError, match="cannot be"):
        bench.migration("swap", 0, 0)
    with pytest.raises(UsageError, match="unknown"):
        bench.migration("fast", 8, 0)
