"""The programs that are at hand under a name: look-alikes of real ones, and .py files that define ``main(sys)``."""

from __future__ import annotations

import importlib
import sys as host
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from numalab.arch.errno import ENOENT, ENOEXEC, strerror
from numalab.tools.errors import UsageError

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["LOADED", "LOOKALIKES", "execvp", "load", "lookalike"]

#: A module of tools/numactl each, imported when it is asked for.
LOOKALIKES = ("memhog", "migratepages", "migspeed", "numactl", "numastat", "taskset")

#: What a .py file is called as a module.
LOADED = "__numalab_program__"

Main = Callable[..., object]


def lookalike(name: str) -> Main:
    """The program of that name."""
    main: Main = getattr(importlib.import_module(f"numalab.tools.numactl.{name}"), name)
    return main


def load(path: str, data: bytes) -> Main:
    """The main(sys) of a .py file. Raises UsageError if it has none, and whatever running its text raises."""
    from numalab.syscalls.sys import check_program  # noqa: PLC0415

    module = types.ModuleType(LOADED)
    module.__file__ = path
    host.modules[module.__name__] = module  # dataclasses and pickle look a class's module up
    host.path.insert(0, str(Path(path).resolve().parent))
    exec(compile(data, path, "exec", dont_inherit=True), module.__dict__)
    main: Main | None = getattr(module, "main", None)
    if main is None:
        raise UsageError(f"{path}: defines no main(sys); if it boots a machine itself, run it with python")
    try:
        check_program(main)
    except TypeError as error:
        raise UsageError(f"{path}: {error}") from None
    return main


def execvp(sys: Sys, words: Sequence[str]) -> NoReturn:
    """Become the program ``words[0]``, the others its arguments. Raises OSError: there is none, or it is no program."""
    name, *args = words
    if name in LOOKALIKES:
        main = lookalike(name)
    elif name.endswith(".py"):
        try:
            main = load(name, Path(name).read_bytes())
        except UsageError as error:
            raise OSError(ENOEXEC, str(error).removeprefix(f"{name}: ")) from None
    else:
        raise OSError(ENOENT, strerror(ENOENT))
    sys.execve(main, argv=args)
