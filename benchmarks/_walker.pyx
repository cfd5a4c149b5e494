"""The page-table walker against its floor: the kernel's source and the same walk in C (walker.h), in one unit."""

include "../arch/_pagetable.pyx"

from libc.stdint cimport int64_t, uint8_t, uint64_t

from numalab.arch._hw cimport Hardware

cdef extern from "walker.h":
    void floor_walk(const uint8_t *ram, uint64_t pgd, const uint64_t *vaddrs, uint64_t *ptes, Py_ssize_t n
                    ) noexcept nogil
    void floor_walk_plain(const uint8_t *ram, uint64_t pgd, const uint64_t *vaddrs, uint64_t *ptes,
                          Py_ssize_t n) noexcept nogil

cdef extern from "steps.h":
    int64_t count_steps(void (*work)(void *) noexcept nogil, void *arg) nogil


def floor_batch(Hardware hw, uint64_t pgd, const uint64_t[::1] vaddrs, uint64_t[::1] ptes) -> None:
    """walk_batch() in C."""
    with nogil:
        floor_walk(hw.h.ram, pgd, &vaddrs[0], &ptes[0], vaddrs.shape[0])


def plain_batch(Hardware hw, uint64_t pgd, const uint64_t[::1] vaddrs, uint64_t[::1] ptes) -> None:
    """The same without remembering the last PTE table."""
    with nogil:
        floor_walk_plain(hw.h.ram, pgd, &vaddrs[0], &ptes[0], vaddrs.shape[0])


cdef struct job:
    unsigned char *ram
    uint64_t pgd
    const uint64_t *vaddrs
    uint64_t *ptes
    Py_ssize_t n


cdef void kernel_job(void *arg) noexcept nogil:
    cdef job *j = <job *>arg
    walk_many(j.ram, j.pgd, j.vaddrs, j.ptes, j.n, 4)


cdef void floor_job(void *arg) noexcept nogil:
    cdef job *j = <job *>arg
    floor_walk(j.ram, j.pgd, j.vaddrs, j.ptes, j.n)


def instructions(Hardware hw, uint64_t pgd, const uint64_t[::1] vaddrs, uint64_t[::1] ptes, bint kernel) -> int:
    """Instructions that walking these addresses takes, with a fixed number more; -1 if the host forbids tracing."""
    cdef job j
    j.ram, j.pgd, j.vaddrs, j.ptes, j.n = hw.h.ram, pgd, &vaddrs[0], &ptes[0], vaddrs.shape[0]
    return count_steps(kernel_job if kernel else floor_job, &j)
