"""pytest-benchmark: migrations by engine, size and share of obstacles. Host time; the virtual one is in extra_info.

.venv/bin/python -m pytest benchmarks
"""

from __future__ import annotations

from typing import Any

import pytest

from numalab.tools.bench import migration


@pytest.mark.parametrize("share", [0.0, 0.1])
@pytest.mark.parametrize("pages", [1024, 8192])
@pytest.mark.parametrize("engine", ["swap", "direct", "batched"])
def test_migration(benchmark: Any, engine: str, pages: int, share: float) -> None:
    results = []

    def run() -> None:
        results.append(migration(engine, pages, share))

    benchmark.pedantic(run, rounds=3)
    best = min(results, key=lambda result: result.host)
    assert best.left == best.obstacles
    benchmark.extra_info |= {
        "host ns a page": round(best.host / pages),
        "virtual ns by pass": list(best.virtual),
    }
