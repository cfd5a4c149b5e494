"""`make bench`: what the modules of measure/ measure, printed and not judged."""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks import measure
from benchmarks.clock import pin
from benchmarks.gate import Skipped


def main() -> None:
    pin()
    for module in sorted(path.stem for path in Path(measure.__file__).parent.glob("[a-z]*.py")):
        for name, value in importlib.import_module(f"benchmarks.measure.{module}").measure().items():
            print(
                f"{name:28} {value.why if isinstance(value, Skipped) else format(value, '.4g')}", flush=True
            )


if __name__ == "__main__":
    main()
