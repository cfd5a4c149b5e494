"""A person at a terminal: types the lines of a `console` block one after the other, and sees what is printed.

    quad> nodes a          in the shell of numalab, one shell for a whole page
    $ numalab demo         in the shell of the host, from the top of the checkout

A page is right if the block says what is printed. ``python -m tests.docs PAGE`` writes it anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from numalab.tools.repl import Shell

__all__ = ["ROOT", "Terminal"]

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROMPT = re.compile(r"(?:\w+(?: \(.*?\))?>|\$) ")


class Terminal:
    """One page's. directory: where files that its shell writes go."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._out = io.StringIO()
        self._shell: Shell | None = None
        self._typed = 0  # blocks

    def close(self) -> None:
        if self._shell is not None:
            self._shell.session.close()

    def come_to(self, page: str, start: int) -> None:
        """Type the blocks of a page that stand before this place: pytest-xdist may have tried them elsewhere."""
        before = [found[1] for found in BLOCK.finditer(page) if found.start() < start]
        if self._typed > len(before):
            self.close()
            self._shell, self._typed = None, 0
            shutil.rmtree(self.directory)
            self.directory.mkdir()
        for text in before[self._typed :]:
            self.block(text)

    def block(self, text: str) -> str:
        """A block as it should be: what is typed in it, and what that prints."""
        self._typed += 1
        typed = [line[m.end() :] for line in text.splitlines() if (m := PROMPT.match(line))]
        hosts = [line.startswith("$ ") for line in text.splitlines() if PROMPT.match(line)]
        lines = []
        for line, host in zip(typed, hosts, strict=True):
            prompt, printed = self._host(line) if host else self._machine(line)
            lines += [prompt + line, *(printed_line.rstrip() for printed_line in printed.splitlines())]
        return "\n".join(lines) + "\n"

    def _machine(self, line: str) -> tuple[str, str]:
        shell = self._shell = self._shell or Shell("quad", self._out)
        prompt, before, errors = shell.prompt, len(self._out.getvalue()), io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.chdir(self.directory):
            shell.onecmd_plus_hooks(line)
        return prompt, self._out.getvalue()[before:] + errors.getvalue()

    def _host(self, line: str) -> tuple[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        run = subprocess.run(
            line, shell=True, text=True, cwd=ROOT, env=os.environ | {"PATH": path, "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        return "$ ", run.stdout
