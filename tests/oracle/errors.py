"""What can go wrong outside the recorder, in one line."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["OracleError", "run"]


class OracleError(Exception):
    """The recorder cannot go on; the text says why."""


def run(*command: str, cwd: Path | None = None) -> str:
    """What a command prints. Raises OracleError with the last line that it complained with."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip().splitlines()
        raise OracleError(f"{command[0]}: {complaint[-1] if complaint else f'status {done.returncode}'}")
    return done.stdout
