"""What the guest starts from: the recorder as its init, a kernel module, the scenarios; packed as a cpio archive."""

from __future__ import annotations

import lzma
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import OracleError, run
from .kernel import Kernel

__all__ = ["compile_guest", "cpio", "initramfs"]

_SOURCES = Path(__file__).parent / "guest"
_DIRECTORY, _FILE = 0o040755, 0o100755


def compile_guest() -> bytes:
    """The recorder, linked statically: there is no library in the guest. Raises OracleError."""
    sources = sorted(str(path) for path in _SOURCES.glob("*.c"))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "scn"
        run("gcc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", str(program), *sources)
        return program.read_bytes()


def initramfs(kernel: Kernel, program: bytes, scenarios: Mapping[str, bytes]) -> bytes:
    """The archive; the guest runs the scenarios in their order here."""
    files = {"init": program, "mod/brd.ko": _module(kernel, "brd")}
    files |= {f"scn/{name}.scn": text for name, text in scenarios.items()}
    files["scn/LIST"] = "".join(f"{name}\n" for name in scenarios).encode()
    return cpio(["dev", "proc", "sys", "scn", "mod"], files)


def _module(kernel: Kernel, name: str) -> bytes:
    found = next(kernel.modules.rglob(f"{name}.ko*"), None)
    if found is None:
        raise OracleError(f"{kernel.modules}: no module {name}")
    return lzma.decompress(found.read_bytes()) if found.suffix == ".xz" else found.read_bytes()


def cpio(directories: list[str], files: Mapping[str, bytes]) -> bytes:
    """An archive in the "newc" format, which the kernel unpacks by itself."""
    members = [(name, _DIRECTORY, b"") for name in directories]
    members += [(name, _FILE, data) for name, data in files.items()]
    members.append(("TRAILER!!!", 0, b""))
    return b"".join(_member(number, *member) for number, member in enumerate(members, 1))


def _member(inode: int, name: str, mode: int, data: bytes) -> bytes:
    # Inode, mode, user, group, links, time, size, four device numbers, length of the name, checksum.
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
