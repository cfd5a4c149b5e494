"""Pipes: bytes from one end to the other, and pages that somebody spliced in.

Mirrors fs/pipe.c. A pipe has 16 buffers. Each holds bytes that were written, or a reference on a page of the program
that gave it by vmsplice(2): as long as it lies there, that page has one holder more than its mappings explain.
"""

from __future__ import annotations

import stat
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numalab.arch.errno import EAGAIN, EPIPE, KernelError
from numalab.kernel.fs.inode import Inode, Opening
from numalab.kernel.kill import send_signal
from numalab.kernel.signal import SIGPIPE
from numalab.kernel.wait import WaitQueue
from numalab.mm.swap import folio_put

if TYPE_CHECKING:
    from numalab.kernel.state import Kernel
    from numalab.kernel.task import Task

__all__ = ["PIPE_BUFFERS", "Pipe", "PipeEnd"]

PIPE_BUFFERS = 16
PAGE_SIZE = 4096


@dataclass
class Buffer:
    """struct pipe_buffer: bytes, or a part of a page. pfn: its frame, 0 = none (nobody has frame 0)."""

    data: bytes
    pfn: int = 0
    offset: int = 0
    length: int = 0


class Pipe:
    """What both ends share. readers, writers: how many open files there are of each."""

    def __init__(self, k: Kernel) -> None:
        self.k = k
        self.buffers: deque[Buffer] = deque()
        self.readers = self.writers = 1
        self.changed: WaitQueue[Task] = WaitQueue("a pipe")
        self._pulled = b"", [b""]  # the bytes that were read last, and what came from each buffer

    @property
    def full(self) -> bool:
        return len(self.buffers) >= PIPE_BUFFERS

    def push(self, buffer: Buffer) -> None:
        """One more buffer; a page in it is held from now on."""
        if buffer.pfn:
            self.k.mem.hot["refcount"][buffer.pfn] += 1
            self.k.mem.held[buffer.pfn] += 1
        self.buffers.append(buffer)
        self.k.sched.wake_up(self.changed)

    def pull(self, count: int) -> bytes:
        """Up to ``count`` bytes from the front; a page that is used up is let go."""
        pieces: list[bytes] = []
        done = 0
        while self.buffers and done < count:
            front = self.buffers[0]
            want = count - done
            if front.pfn:
                at = front.pfn * PAGE_SIZE + front.offset
                piece = self.k.hw.ram[at : at + min(want, front.length)].tobytes()
                front.offset, front.length = front.offset + len(piece), front.length - len(piece)
                used_up = not front.length
            else:
                piece, front.data = front.data[:want], front.data[want:]
                used_up = not front.data
            pieces.append(piece)
            done += len(piece)
            if used_up:
                self._let_go(self.buffers.popleft())
        self.k.sched.wake_up(self.changed)
        self._pulled = b"".join(pieces), pieces
        return self._pulled[0]

    def push_back(self, data: bytes, stored: int) -> int:
        """Of bytes that were pulled only so many could be stored: what came from one buffer has gone whole or not.

        Returns how many have gone. (If somebody else has read meanwhile, nobody knows the buffers any more.)
        """
        whole, pieces = self._pulled
        left = list(pieces) if data is whole else [data[:stored], data[stored:]]
        gone = 0
        while left and gone + len(left[0]) <= stored:
            gone += len(left.pop(0))
        self.buffers.extendleft(Buffer(piece) for piece in reversed(left))
        self.k.sched.wake_up(self.changed)
        return gone

    def wait(self, opening: Opening) -> None:
        """Until something has changed, unless the end was opened not to. Errors: EAGAIN, EINTR."""
        if opening.nonblock:
            raise KernelError(EAGAIN)
        before = len(self.buffers), self.readers, self.writers
        self.k.sched.wait_event(
            self.changed, lambda: before != (len(self.buffers), self.readers, self.writers)
        )

    def close(self, write: bool) -> None:
        """One end has been closed for good; with the last of both go the buffers."""
        self.writers -= write
        self.readers -= not write
        if not self.readers and not self.writers:
            while self.buffers:
                self._let_go(self.buffers.popleft())
        self.k.sched.wake_up(self.changed)

    def _let_go(self, buffer: Buffer) -> None:
        if buffer.pfn and not self.k.closed:
            folio_put(self.k.mem, 0, buffer.pfn)


class PipeEnd(Inode):
    """One end of a pipe."""

    seekable = False

    def __init__(self, pipe: Pipe, write: bool) -> None:
        super().__init__(stat.S_IFIFO | 0o600)
        self.pipe = pipe
        self.is_write = write

    def read(self, opening: Opening, pos: int, count: int) -> bytes:
        """Waits for bytes; none when nobody can write any more. Errors: EAGAIN, EINTR."""
        while count and not self.pipe.buffers and self.pipe.writers:
            self.pipe.wait(opening)
        return self.pipe.pull(count)

    def unread(self, data: bytes, stored: int) -> int:
        return self.pipe.push_back(data, stored)

    def write(self, opening: Opening, pos: int, data: bytes) -> int:
        """Waits for room. Errors: EPIPE (with SIGPIPE, if nobody reads), EAGAIN, EINTR."""
        self.wait_for_room(opening)
        self.pipe.push(Buffer(bytes(data)))
        return len(data)

    def wait_for_room(self, opening: Opening) -> None:
        """Until there is a free buffer. Errors: as write()."""
        k = self.pipe.k
        while True:
            if not self.pipe.readers:
                if k.sched.current is not None:
                    send_signal(k, k.sched.current, SIGPIPE)
                raise KernelError(EPIPE)
            if not self.pipe.full:
                return
            self.pipe.wait(opening)

    def release(self, cpu: int) -> None:
        self.pipe.close(self.is_write)
