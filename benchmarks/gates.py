"""`make gates`: a line for each gate of gates.toml, and exit status 1 if one falls short.

`python -m benchmarks.gates TABLE...` measures some of its tables. A module of measure/ is run once more, up to three
times, while one of its gates falls short; the best try of each gate counts. On a busy machine a try can be spoiled, and
none can come out better than it is.
"""

from __future__ import annotations

import importlib
import sys

from benchmarks.clock import pin
from benchmarks.gate import Gate, Skipped, Value, read_gates

TRIES = 3


def measured(module: str, gates: list[Gate]) -> dict[str, Value]:
    """The best value of each gate of a module; what is measured beyond them is left out."""
    measure = importlib.import_module(f"benchmarks.measure.{module}").measure
    best: dict[str, Value] = {}
    for _ in range(TRIES):
        values: dict[str, Value] = measure()
        for gate in gates:
            value = values[gate.name]
            best[gate.name] = gate.better(best.get(gate.name, value), value)
        if all(gate.passes(best[gate.name]) for gate in gates):
            break
    return best


def main() -> int:
    tables = read_gates()
    chosen = sys.argv[1:] or list(tables)
    if unknown := [name for name in chosen if name not in tables]:
        print(f"no table {unknown[0]} in gates.toml; there are {', '.join(tables)}", file=sys.stderr)
        return 2
    pin()
    failed = 0
    print(f"{'gate':28} {'value':>9}  {'must':10} {'goal':10} verdict")
    for module in chosen:
        gates = tables[module]
        values = measured(module, gates)
        for gate in gates:
            value = values[gate.name]
            shown = "-" if isinstance(value, Skipped) else f"{value:.4g}"
            line = f"{gate.name:28} {shown:>9}  {gate.must.text:10} {gate.goal.text:10} {gate.verdict(value)}"
            print(line, flush=True)
            failed += not gate.passes(value)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
