"""Compile the kernels: every ``.pyx`` below src/numalab becomes an extension module of the same name.

Everything that is not about compiling stands in pyproject.toml. The environment variable NUMALAB_CYTHON says
how to compile:

    fast      (default) no checks on array accesses, C division, -O3
    debug     checks on, C assertions on, NUMALAB_DEBUG defined, -O1 -g
    asan      what fast means, at -O1 -g, under AddressSanitizer and UndefinedBehaviorSanitizer (`make check-asan`)
    trace     as debug, and every line reports to a tracer: slow, for coverage
    annotate  as fast, and an .html beside each C file in build/annotate shows where hot code touches Python
    none      compile nothing (`make` installs the package first, then builds it)

Each way keeps its own files under build/, so going back and forth compiles nothing twice.
"""

import contextlib
import fcntl
import filecmp
import glob
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

MODES = ("fast", "debug", "asan", "trace", "annotate", "none")
MODE = os.environ.get("NUMALAB_CYTHON") or "fast"
CHECKED = MODE in {"debug", "trace"}
SANITIZED = MODE == "asan"
BUILD = Path("build", MODE)

# Cython's memoryview code is large; it is compiled once, into this module, and not into each of ours.
# (Cython also enters the last part of the name in sys.modules, so that part must be like nobody else's.)
SHARED = "numalab._numalab_shared"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "initializedcheck": CHECKED,
    # These two change what a program means, so they are the same in every mode.
    "wraparound": False,
    "cdivision": True,
    "linetrace": MODE == "trace",
    "show_performance_hints": not CHECKED,
}

# The kernels look at simulated RAM as page tables, words and bytes in turn: as Linux does, and with its flag.
# -g0 comes last: Python's own flags ask for -g, which makes the modules five times as large.
CFLAGS = ["-fno-strict-aliasing", *(["-O1", "-UNDEBUG", "-g"] if CHECKED or SANITIZED else ["-O3", "-g0"])]
LDFLAGS: list[str] = []
if SANITIZED:
    LDFLAGS += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    # Python's own -fwrapv would make signed overflow a thing that may happen.
    CFLAGS += [*LDFLAGS, "-fno-wrapv", "-fno-omit-frame-pointer"]
MACROS: list[tuple[str, str | None]] = [("NUMALAB_DEBUG", "1")] if CHECKED else []
if MODE == "trace":
    MACROS += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]


class Kernel(Extension):
    """An Extension that can be hashed: Cython keeps the modules it cannot compile in a set."""

    __hash__ = object.__hash__


def extensions() -> list[Extension]:
    """List the extensions. glob, unlike pathlib, follows the links in src/numalab on every Python."""
    if MODE not in MODES:
        sys.exit(f"NUMALAB_CYTHON={MODE}: choose one of {', '.join(MODES)}")
    if MODE == "none":
        return []
    sources = {SHARED: "build/_numalab_shared.c"}  # Cython writes it
    for path in sorted(glob.glob("src/numalab/**/*.pyx", recursive=True)):
        sources[path.removeprefix("src/").removesuffix(".pyx").replace("/", ".")] = path
    return [
        Kernel(name, [path], extra_compile_args=CFLAGS, extra_link_args=LDFLAGS, define_macros=MACROS)
        for name, path in sources.items()
    ]


class BuildKernels(build_ext):
    """build_ext that runs Cython on all modules at once, and lets several builds of one tree take turns."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count()
        if self.inplace:
            # An editable install would use a temporary folder, and the next build would compile all again.
            self.build_lib = str(BUILD / f"lib-{sys.implementation.cache_tag}")
            self.build_temp = str(BUILD / f"temp-{sys.implementation.cache_tag}")

    def run(self) -> None:
        self.failed: list[str] = []
        with one_build_at_a_time():
            super().run()
        if self.failed:
            raise CompileError(f"not built, see Cython's messages above: {', '.join(self.failed)}")

    def build_extensions(self) -> None:
        from Cython.Build import cythonize  # noqa: PLC0415 - metadata needs no Cython

        c_files = BUILD / "cython"
        forget_older_than(Path("setup.py"), c_files)
        compiled = cythonize(
            self.extensions,
            # Only beside its source does the coverage plug-in find a C file.
            build_dir=None if MODE == "trace" else str(c_files),
            force=self.force or MODE == "trace",
            include_path=["src"],
            compiler_directives=DIRECTIVES,
            shared_utility_qualified_name=SHARED,
            annotate=MODE == "annotate",
            emit_linenums=CHECKED or SANITIZED,  # debuggers and sanitizers name lines of the .pyx
            nthreads=self.parallel,
            quiet=not self.verbose,
            exclude_failures=True,  # as make -k: build what can be built, and fail at the end
        )
        sources = {ext.name: ext.sources for ext in compiled}
        self.failed = [ext.name for ext in self.extensions if ext.name not in sources]
        self.extensions = [ext for ext in self.extensions if ext.name in sources]
        for ext in self.extensions:
            ext.sources = sources[ext.name]
        super().build_extensions()

    def copy_extensions_to_source(self) -> None:
        """Put the modules beside their sources by renaming, so that nobody ever imports half a file."""
        for ext in self.extensions:
            target, built = self._get_inplace_equivalent(self.get_finalized_command("build_py"), ext)
            if not (os.path.exists(target) and filecmp.cmp(built, target, shallow=False)):
                shutil.copy2(built, f"{target}.new")
                os.replace(f"{target}.new", target)


@contextlib.contextmanager
def one_build_at_a_time() -> Iterator[None]:
    Path("build").mkdir(exist_ok=True)
    with open("build/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def forget_older_than(reference: Path, folder: Path) -> None:
    """Remove C files made before `reference` changed: Cython looks at its sources, not at its options."""
    changed = reference.stat().st_mtime
    for path in folder.rglob("*.c"):
        if path.stat().st_mtime < changed:
            path.unlink()


if __name__ == "__main__":  # Cython's helper processes may import this file
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildKernels})
