"""What a process must find in its memory: a model in plain Python, a dict from page numbers to pages.

It knows nothing of frames, nodes or page tables. Contents are shared between models as the kernel shares frames,
which costs nothing here since bytes never change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

__all__ = ["PAGE", "ZEROS", "Image", "Page", "Policy", "Shared"]

PAGE = 4096
ZEROS = bytes(PAGE)

#: A memory policy: (mode, mask of effective nodes).
Policy = tuple[int, int]


#: The contents of shared memory, by page: what was never written is zeros.
Shared = dict[int, bytes]


@dataclass(frozen=True, slots=True)
class Page:
    """One mapped page. fork: what becomes of it in a child, "copy", "drop" or "wipe".

    shared: the memory that it shows, at ``index``, which is what counts instead of ``content``; None: it is private.
    lost: what it holds instead if the kernel has discarded what MADV_FREE gave up; ZEROS until somebody writes to it
    again, None: that cannot be.
    """

    prot: int
    content: bytes = ZEROS
    locked: bool = False
    policy: Policy | None = None
    fork: str = "copy"
    shared: Shared | None = None
    index: int = 0
    lost: bytes | None = None


class Image:
    """The memory of one process and the policy of its task. Page numbers are addresses / 4096."""

    def __init__(self, pages: dict[int, Page] | None = None, policy: Policy | None = None) -> None:
        self.pages = {} if pages is None else pages
        self.policy = policy

    def child(self) -> Image:
        """What fork() gives: no locks, and areas that are left out or empty on request."""
        pages = {
            vpn: replace(page, locked=False, content=ZEROS if page.fork == "wipe" else page.content)
            for vpn, page in self.pages.items()
            if page.fork != "drop"
        }
        return Image(pages, self.policy)

    def run(self, vpn: int, count: int) -> Iterator[int]:
        """The mapped pages from ``vpn`` on, up to the first hole."""
        for at in range(vpn, vpn + count):
            if at not in self.pages:
                return
            yield at

    def mapped(self, vpn: int, count: int) -> list[int]:
        """The mapped pages of a range, holes left out."""
        return [at for at in range(vpn, vpn + count) if at in self.pages]

    def change(self, vpns: Iterable[int], **what: object) -> None:
        """Give pages other properties."""
        for vpn in vpns:
            self.pages[vpn] = replace(self.pages[vpn], **what)  # type: ignore[arg-type]

    def content(self, vpn: int) -> bytes:
        """The bytes of a mapped page."""
        page = self.pages[vpn]
        return page.content if page.shared is None else page.shared.get(page.index, ZEROS)

    def agrees(self, vpn: int, seen: bytes) -> bool:
        """Whether a mapped page may look so."""
        return seen in (self.content(vpn), self.pages[vpn].lost)

    def settle(self, vpn: int, seen: bytes) -> None:
        """What a mapped page holds has been seen: once it is lost, or written to again, there is no doubt."""
        page = self.pages[vpn]
        if page.lost is None:
            return
        if seen != page.content:
            self.change([vpn], content=ZEROS if page.lost is ZEROS else seen, lost=None)
        elif page.lost is not ZEROS:
            self.change([vpn], lost=None)

    def remove(self, vpn: int, count: int) -> None:
        """Unmap a range."""
        for at in range(vpn, vpn + count):
            self.pages.pop(at, None)

    def reads(self, vpn: int, seen: bytes) -> bool:
        """Whether whole pages from ``vpn`` on may look so."""
        return all(self.agrees(vpn + i, seen[i * PAGE : (i + 1) * PAGE]) for i in range(len(seen) // PAGE))

    def write(self, addr: int, data: bytes) -> None:
        """Store bytes in mapped memory."""
        done = 0
        while done < len(data):
            vpn, offset = divmod(addr + done, PAGE)
            piece = data[done : done + PAGE - offset]
            page = self.pages[vpn]

            def over(old: bytes, at: int = offset, data: bytes = piece) -> bytes:
                return old[:at] + data + old[at + len(data) :]

            if page.shared is None:
                lost = None if page.lost is None else over(page.lost)
                self.change([vpn], content=over(page.content), lost=lost)
            else:
                page.shared[page.index] = over(self.content(vpn))
            done += len(piece)
