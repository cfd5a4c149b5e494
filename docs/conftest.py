"""The blocks of the pages here are tests: `console` ones are typed (tests/docs/console.py)."""

import tempfile
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

from tests.docs.console import Terminal


def console(example: Example) -> str | None:
    """What is wrong with a block."""
    said, terminal = str(example.parsed), example.namespace["terminal"]
    terminal.come_to(example.document.text, example.start)
    printed = terminal.block(said)
    if printed == said:
        return None
    return f"python -m tests.docs {Path(example.path).name} writes this instead:\n{printed}"


def setup(namespace: dict[str, Any]) -> None:
    namespace["directory"] = tempfile.TemporaryDirectory()
    namespace["terminal"] = Terminal(Path(namespace["directory"].name))


def teardown(namespace: dict[str, Any]) -> None:
    namespace["terminal"].close()
    namespace["directory"].cleanup()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("console", console)], patterns=["*.md"], setup=setup, teardown=teardown
).pytest()
