"""What mm asks of an open file before it maps it.

Pages and contents of a file are mm's (``AddressSpace``), its name and who has it open are not. So an area holds it
through this protocol, which mm/shmem.py fulfils for memory without a name. Mirrors ``vm_area_struct.vm_file``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from numalab.mm._mm_types import AddressSpace

__all__ = ["MappedFile"]


class MappedFile(Protocol):
    """struct file, as an area knows it."""

    @property
    def mapping(self) -> AddressSpace:
        """Its pages, the areas that map it, and its memory policies."""

    @property
    def path(self) -> str:
        """Its name in maps and numa_maps."""

    def get_file(self) -> None:
        """One area more maps it."""

    def fput(self, cpu: int) -> None:
        """One area less; what becomes free with the last one goes to the free lists of ``cpu``."""
