"""The shell: what a person types, what comes back."""

import io

import pytest

from numalab.tools.repl import Shell


@pytest.fixture
def shell():
    shell = Shell("quad", io.StringIO())
    yield shell
    shell.session.close()


def typed(shell: Shell, capsys, *lines: str) -> tuple[str, str]:
    """What the lines print: on standard output and on standard error."""
    capsys.readouterr()
    before = len(shell.stdout.getvalue())
    for line in lines:
        shell.onecmd_plus_hooks(line)
    return shell.stdout.getvalue()[before:], capsys.readouterr().err


def test_operations_keep_their_grammar(shell: Shell, capsys) -> None:
    out, err = typed(
        shell, capsys, "mmap a 4 # four pages", "fill a 1", "mbind a bind {1} flags=MOVE|STRICT", "nodes a"
    )
    assert out.splitlines() == ["ret=0", "ret=0", "ret=0", "ret=0 nodes=1*4"]
    assert err == ""


def test_an_error_comes_with_the_usage(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "touch nosuch r")
    assert out == ""
    assert err.splitlines() == ["script-error=no-such-region:nosuch", "usage: touch RANGE r|w [faults=1]"]


def test_an_unknown_word(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "frobnicate")
    assert err == "frobnicate: no such operation or command (help lists them)\n"


def test_comments_and_empty_lines(shell: Shell, capsys) -> None:
    assert typed(shell, capsys, "# nothing", "") == ("", "")


def test_python_is_taken_as_typed(shell: Shell, capsys) -> None:
    assert typed(shell, capsys, 'py "a|b;c" > "a"', "py sorted({2, 1})") == ("True\n[1, 2]\n", "")


def test_help_for_an_operation(shell: Shell, capsys) -> None:
    out, _ = typed(shell, capsys, "help mbind")
    assert "Set the policy of a range" in out
    assert "mbind RANGE MODE MASK" in out


def test_machines(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "machine dual", "machine nonsense", "machine")
    assert out.splitlines() == ["machine dual; nodes 0,1: 512 MiB, 2 CPUs"] * 2
    assert "'nonsense' is unknown" in err
    assert shell.prompt == "dual> "


def test_engines_and_their_ledger(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "ledger", "engine", "engine swap", "engine fast")
    assert out == "batched\nswap\n"
    assert (
        err
        == "nothing has been migrated yet\nmigration engine 'fast' is unknown: use batched, direct, swap\n"
    )
    out, _ = typed(shell, capsys, "mmap a 4", "fill a 1", "migrate_pages self {0} {1}", "state a", "ledger")
    assert "state=S*4" in out
    assert "pass 0 " in out
    assert "writing" in out


def test_map_needs_a_process(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "map nobody")
    assert err == "nobody: no such process (there are main)\n"


def test_history_has_operations(shell: Shell, capsys) -> None:
    out, _ = typed(shell, capsys, "mmap a 4", "history")
    assert "mmap a 4" in out


def test_exit_of_main_ends_the_shell(shell: Shell, capsys) -> None:
    assert shell.onecmd_plus_hooks("spawn p") is False
    assert shell.onecmd_plus_hooks("p: exit") is False
    assert shell.onecmd_plus_hooks("exit") is True


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("mma", ["mmap"]),
        ("mbind a bi", ["bind"]),
        ("mbind a bind {0} flags=MOVE|ST", ["STRICT"]),
        ("hel", ["help"]),
    ],
)
def test_completion(shell: Shell, line: str, completed: list[str]) -> None:
    shell.onecmd_plus_hooks("mmap a 4")
    # The word that the terminal asks about begins behind the last blank or bar.
    text = line[max(line.rfind(" "), line.rfind("|")) + 1 :]
    found = shell.complete(text, line, len(line) - len(text), len(line))
    assert found.to_strings() == tuple(completed)
