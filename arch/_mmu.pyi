from typing import Any

import numpy.typing as npt

from numalab.arch._hw import Hardware

def read(
    hw: Hardware, cpu: int, asid: int, pgd: int, va: int, buf: bytearray | memoryview | npt.NDArray[Any]
) -> int: ...
def write(
    hw: Hardware,
    cpu: int,
    asid: int,
    pgd: int,
    va: int,
    buf: bytes | bytearray | memoryview | npt.NDArray[Any],
) -> int: ...
def touch(
    hw: Hardware, cpu: int, asid: int, pgd: int, va: int, stride: int, count: int, write: bool, value: int = 1
) -> int: ...
def flush_tlb_page(hw: Hardware, asid: int, va: int) -> None: ...
def flush_tlb_range(hw: Hardware, asid: int, start: int, end: int) -> None: ...
def flush_tlb_mm(hw: Hardware, asid: int) -> None: ...
def flush_tlb_all(hw: Hardware) -> None: ...
