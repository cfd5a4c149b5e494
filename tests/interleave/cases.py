"""All cases: small programs with two or three tasks that meet over a few pages.

Each makes ready, lets its tasks run side by side, and then looks whether memory holds what they wrote. Tasks a and c
run on CPU 0, b on CPU 1. Pages lie across the end of a page table: so a fork and a walk have a point between them.
"""

from tests.interleave import cases_migrate, cases_reclaim
from tests.interleave.casebook import CASES

__all__ = ["CASES", "cases_migrate", "cases_reclaim"]
