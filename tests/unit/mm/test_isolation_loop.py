"""The isolation loop runs without Python: Cython's own annotation says so, line by line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: What the loop consists of: from its innermost step outwards, and isolation from an array of frames.
LOOPS = {"_vmscan": ("take", "isolate_cold", "put_passed"), "_lru": ("isolate_batch", "lru_add_batch")}


@pytest.mark.slow
@pytest.mark.parametrize("module", LOOPS)
def test_no_line_of_the_loop_touches_python(module: str, tmp_path: Path) -> None:
    options = ["-3", "-a", "-X", "boundscheck=False", "-X", "wraparound=False", "-X", "cdivision=True"]
    source = ROOT / "src/numalab/mm" / f"{module}.pyx"
    command = [sys.executable, "-m", "cython", *options, "-I", str(ROOT / "src"), "-o", str(tmp_path / "x.c")]
    subprocess.run([*command, str(source)], check=True, capture_output=True, cwd=ROOT)
    scores = [
        int(n) for n in re.findall(r'class="cython line score-(\d+)"', (tmp_path / "x.html").read_text())
    ]
    text = source.read_text().splitlines()
    assert len(scores) == len(text)
    for name in LOOPS[module]:
        first = next(i for i, line in enumerate(text) if re.match(rf"cdef .*\b{name}\(", line))
        last = next(i for i in range(first + 1, len(text)) if text[i] and text[i][0] not in " )#") - 1
        yellow = [text[i] for i in range(first, last) if scores[i]]
        assert not yellow, f"{name} touches Python: {yellow}"
    assert max(scores) > 0, "what does touch Python is seen"
