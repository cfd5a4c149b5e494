"""Draw the pictures of docs/pictures from real runs: ``make pictures``.

A screen is what the shell prints, colours included, as SVG.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cmd2.rich_utils
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from numalab.tools.repl import Shell

from tests.docs.console import ROOT
from tests.docs.perfetto import draw

PICTURES = ROOT / "docs/pictures"

#: By the name of the picture: what is typed before it, and what is typed on it.
SCREENS = {
    "repl": (
        [],
        ["nodes", "mmap a 8", "mbind a interleave {0,1,2,3}", "touch a w", "nodes a", "migrate_pages self {0,1} {2,3}",
         "nodes a", "regions", "explain"],
    ),
    "step": (
        ["mmap a 3", "fill a 1", "obstacle pin a+1:1"],
        ["step migrate_pages self {0} {1}", "step", "step", "step", "step", "step", "step", "step pass", "step end",
         "explain a+1"],
    ),
    "walk": (
        ["mmap a 3", "fill a 1"],
        ["walk a", "step migrate_pages self {0} {1}", "step", "walk a", "step end", "walk a"],
    ),
    "map": (
        ["mmap text 30000", "mbind text interleave {0,1,2,3}", "fill text 1", "mmap heap 60000", "fill heap 2",
         "mlock heap+0:9000", "spawn child", "child: setaffinity node=2", "child: touch heap+40000:20000 w",
         "child: mmap mine 70000", "child: fill mine 3", "file /tmp/f 20000", "obstacle writeback heap+9000:3000"],
        ["map", "map state"],
    ),
}  # fmt: skip


def screen(before: Sequence[str], shown: Sequence[str]) -> Text:
    """What a person sees who types this."""
    out = io.StringIO()
    shell = Shell("quad", out)
    for line in before:
        shell.onecmd_plus_hooks(line)
    out.seek(0)
    out.truncate()
    for line in shown:
        out.write(f"\x1b[1;36m{shell.prompt}\x1b[0m\x1b[1m{line}\x1b[0m\n")
        with contextlib.redirect_stderr(out):
            shell.onecmd_plus_hooks(line)
    shell.session.close()
    return Text.from_ansi(out.getvalue().rstrip("\n"))


#: What docs/tracing.md says.
PRESSURE = [
    "machine 2x32M", "disks latency=200000 page=2000", "mmap a 3000", "fill a 1", "trace on pressure.json",
    "obstacle writeback a+100:2 ns=4000000", "migrate_pages self {0} {1}", "spawn b", "b: setaffinity node=1",
    "b: mmap c 15000", "b: fill c 2", "trace off",
]  # fmt: skip


def draw_trace() -> None:
    """The trace that these lines write into pressure.json, and its migration from near."""
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        screen(PRESSURE, [])
        draw(
            Path("pressure.json"),
            {"": PICTURES / "trace.png", "migration*": PICTURES / "trace-migration.png"},
        )


def svg(text: Text, title: str) -> str:
    """A picture that needs nothing from elsewhere: with the fonts of whoever looks."""
    console = Console(record=True, width=max(map(len, text.plain.split("\n"))) + 1, file=io.StringIO())
    console.print(text, "", sep="\n", soft_wrap=True)  # the last line is cut where its underscores are
    form = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title=title, code_format=form, unique_id=title).replace(
        "Fira Code", "DejaVu Sans Mono"
    )


def main() -> None:
    cmd2.rich_utils.ALLOW_STYLE = cmd2.rich_utils.AllowStyle.ALWAYS
    PICTURES.mkdir(exist_ok=True)
    for name, (before, shown) in SCREENS.items():
        (PICTURES / f"{name}.svg").write_text(svg(screen(before, shown), name))
    compare = Path(sys.executable).with_name("numalab")
    subprocess.run(
        [compare, "compare", "--png", PICTURES / "compare.png", "examples/three_engines.py"],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    draw_trace()


if __name__ == "__main__":
    main()
