"""A shell for tests, and whoever types there."""

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
