"""The kernel: Debian's stock package, fetched with the host's own apt mirror and unpacked, never installed.

All of it goes to a cache folder of the recorder's own: package lists, the package, and what was unpacked.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import OracleError, run

__all__ = ["Kernel", "cache_folder", "kernel"]

_SUITE = "trixie"  # Debian's release with Linux 6.12
_SERIES = "6.12"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    image: Path
    modules: Path

    @property
    def release(self) -> str:
        """What ``uname -r`` says in the guest."""
        return self.image.name.removeprefix("vmlinuz-")


def cache_folder() -> Path:
    """Where kernels are kept: ``$ORACLE_DIR``, or a folder in the user's cache."""
    given = os.environ.get("ORACLE_DIR")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numalab-oracle"


def kernel() -> Kernel:
    """The newest kernel in the cache, fetched if there is none. Raises OracleError."""
    found = _unpacked()
    if found is None:
        _fetch()
        found = _unpacked()
    if found is None:
        raise OracleError(f"Debian {_SUITE} has no Linux {_SERIES}: no vmlinuz in {cache_folder()}")
    return found


def _unpacked() -> Kernel | None:
    images = cache_folder().glob(f"k/*/boot/vmlinuz-{_SERIES}.*")
    newest = max(images, key=_version, default=None)
    return None if newest is None else Kernel(newest, newest.parents[1] / "usr/lib/modules")


def _version(image: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", image.name)]


def _fetch() -> None:
    folder = cache_folder()
    apt = folder / f"apt-{_SUITE}"
    for below in ("lists/partial", "cache/archives/partial", "parts"):
        (apt / below).mkdir(parents=True, exist_ok=True)
    (apt / "parts/oracle.sources").write_text(
        f"Types: deb\nURIs: {_mirror()}\nSuites: {_SUITE}\nComponents: main\nSigned-By: {_KEYRING}\n"
    )
    options = (
        "-oDir::Etc::sourcelist=/dev/null",
        f"-oDir::Etc::sourceparts={apt}/parts",
        f"-oDir::State::lists={apt}/lists",
        f"-oDir::Cache={apt}/cache",
        "-oAPT::Sandbox::User=root",  # the folder is the user's, not apt's
    )
    print(f"fetching the kernel of Debian {_SUITE} into {folder}", flush=True)
    run("apt-get", *options, "update")
    depends = run("apt-cache", *options, "depends", "linux-image-amd64")
    packages = re.findall(r"Depends: (linux-image-[0-9]\S*)", depends)
    if not packages:
        raise OracleError(f"the apt mirror of this machine has no linux-image-amd64 in {_SUITE}")
    # Unpacked aside, so that what is in its place is whole.
    (folder / "k").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        run("apt-get", *options, "download", packages[-1], cwd=Path(aside))
        [package] = Path(aside).glob("*.deb")
        run("dpkg-deb", "--extract", str(package), f"{aside}/tree")
        Path(aside, "tree").rename(folder / "k" / packages[-1])


def _mirror() -> str:
    """The mirror that this machine is set up with."""
    if not _KEYRING.exists():
        raise OracleError(
            "the kernel comes from Debian's archive: this needs a Debian, or debian-archive-keyring"
        )
    addresses = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    mirrors = [address for address in addresses if "security" not in address]
    if not mirrors:
        raise OracleError("apt has no package source on this machine")
    return mirrors[0]
