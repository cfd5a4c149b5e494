"""docs/operations.md, made from the table of operations.

The page is checked in, so that it can be read without running anything; a test holds it to what `render_docs()` says.
`python -m numalab.tools.scn.docs docs/operations.md` writes it anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

from numalab.tools.scn.ops import FAMILIES, OPERATIONS
from numalab.tools.scn.ops.examples import EXAMPLES

__all__ = ["render_docs"]

_HEAD = """\
# Operations of the scenario language

Made from `tools/scn/ops/` (`python -m numalab.tools.scn.docs docs/operations.md`); do not edit.
`docs/scenarios.md` says how to write a scenario, and what RANGE, MASK and TARGET are.
"""


def render_docs() -> str:
    """The page: a table a family, in the order in which people meet them."""
    parts = [_HEAD]
    for family in FAMILIES:
        name = family.__name__.rpartition(".")[2]
        rows = [operation for operation in OPERATIONS.values() if operation.family == name]
        parts.append(
            f"\n## {name.capitalize()}\n\n| operation | what it does | example |\n| --- | --- | --- |\n"
        )
        for operation in rows:
            usage = f"{operation.name} {operation.usage}".rstrip().replace("|", "\\|")
            told = " ".join(operation.help.split()).replace("|", "\\|")
            example = EXAMPLES[operation.name].replace("|", "\\|")
            parts.append(f"| `{usage}` | {told} | `{example}` |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render_docs())
