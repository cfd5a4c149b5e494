"""Compile the measuring parts: C floors, rival structures and host calls, into build/benchmarks.

A floor is compiled in one unit with the kernel it is compared with: each floor's ``.pyx`` includes the kernel's source,
and is compiled with the flags of setup.py. None of this is part of the wheel or of `make build`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

__all__ = ["FLOORS", "load"]

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
BUILD = ROOT / "build/benchmarks"
FLOORS = ("host", "walker", "buddy", "touch", "lru", "rmap", "migrate")


def load(name: str) -> ModuleType:
    """One of FLOORS as a module; compiles whatever is out of date first."""
    target = BUILD / "lib/benchmarks" / f"_{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not target.exists() or target.stat().st_mtime < newest_source():
        compile_all()
    full_name = f"benchmarks._{name}"
    if full_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(full_name, target)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full_name])
    return sys.modules[full_name]


def newest_source() -> float:
    """When the last of the files that floors are made of changed: theirs and the kernels'."""
    folders = (HERE, ROOT / "arch", ROOT / "mm")
    sources = [p for folder in folders for p in folder.iterdir() if p.suffix in {".pyx", ".pxd", ".h"}]
    return max(path.stat().st_mtime for path in (*sources, ROOT / "setup.py", Path(__file__)))


def compile_all() -> None:
    """Run this file as a program: Cython and the compiler leave nothing behind in the process that measures."""
    log = BUILD / "build.log"
    BUILD.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        command = [sys.executable, "-m", "benchmarks.build"]
        if subprocess.run(command, cwd=ROOT, stdout=out, stderr=out, check=False).returncode:
            sys.exit(f"the floors do not compile:\n{log.read_text()[:2000]}")


def main() -> None:
    from Cython.Build import cythonize  # noqa: PLC0415 - the process that measures needs neither
    from setuptools import Extension, setup  # noqa: PLC0415

    os.environ["NUMALAB_CYTHON"] = "fast"
    rules = importlib.import_module("setup")
    extensions = [
        Extension(f"benchmarks._{name}", [f"benchmarks/_{name}.pyx"], extra_compile_args=rules.CFLAGS)
        for name in FLOORS
    ]
    with contextlib.chdir(ROOT):
        compiled = cythonize(
            extensions,
            build_dir=str(BUILD / "cython"),
            include_path=["src"],
            compiler_directives=rules.DIRECTIVES,
            shared_utility_qualified_name=rules.SHARED,
            nthreads=os.cpu_count(),
            force=True,  # Cython does not follow `include` beyond one level
        )
        for extension in compiled:
            extension.include_dirs.append("benchmarks")
        options = [
            "build_ext",
            "--build-lib",
            str(BUILD / "lib"),
            "--build-temp",
            str(BUILD / "temp"),
            "--force",
        ]
        setup(name="floors", ext_modules=compiled, script_args=["--quiet", *options, "--parallel", "2"])


if __name__ == "__main__":
    main()
