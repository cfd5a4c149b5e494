"""Write the console blocks of pages anew: ``python -m tests.docs docs/tutorial.md``."""

import sys
import tempfile
from pathlib import Path

from tests.docs.console import BLOCK, Terminal

for name in sys.argv[1:]:
    page = Path(name)
    with tempfile.TemporaryDirectory() as directory:
        terminal = Terminal(Path(directory))
        text = BLOCK.sub(lambda found, t=terminal: f"```console\n{t.block(found[1])}```", page.read_text())
        terminal.close()
    page.write_text(text)
