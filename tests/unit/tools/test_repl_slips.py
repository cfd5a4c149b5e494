"""The shell under those who mistype, mistake, or use it as another one: a clear line, and nothing is lost."""

from numalab.tools.repl import Shell

from tests.unit.tools.shells import shell, typed

__all__ = ["shell"]


def test_a_key_that_is_none(shell: Shell, capsys) -> None:
    out, err = typed(
        shell, capsys, "mmap a 2", "touch a w flags=x", "step fill a seed=1", "state a", "step fill a"
    )
    assert out.splitlines()[:2] == ["ret=0", "ret=0 state=.*2"]
    assert err.splitlines() == [
        "script-error=no-such-key:flags (touch has faults)", "usage: touch RANGE r|w [faults=1]",
        "script-error=no-such-key:seed (fill has none)",
    ]  # fmt: skip


def test_an_obstacle_in_the_whole_address_space(shell: Shell, capsys) -> None:
    """Nobody looks through the 2**52 pages of it, nor behind the areas' ends."""
    out, _ = typed(shell, capsys, "mmap a 8", "touch a+2:3 w", "obstacle lock a+3", "obstacle pin null:max",
                   "obstacle lock a+1:3", "clear", "verify a:1")  # fmt: skip
    pinned = int(out.splitlines()[3].removeprefix("ret=0 pages="))
    assert pinned > 3
    assert out.splitlines()[4] == "ret=0 pages=1"
