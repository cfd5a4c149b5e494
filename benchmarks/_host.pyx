"""The host kernel's own calls on real memory of this process: the reference line of the gates against the host.

Every function does one call, or one loop of touches, and nothing else; the caller takes the time. Calls that the host
refuses raise OSError.
"""

from libc.errno cimport errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t, uintptr_t

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)
    int munmap(void *addr, size_t length)
    int madvise(void *addr, size_t length, int advice)
    enum:
        PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MADV_NOHUGEPAGE, MADV_DONTFORK
    void *MAP_FAILED

cdef extern from "<sys/syscall.h>":
    enum:
        SYS_mbind, SYS_move_pages

cdef extern from "<sys/wait.h>" nogil:
    int waitpid(int pid, int *status, int options)

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)
    int fork()
    void _exit(int status)

cdef enum:
    MPOL_BIND = 2
    MPOL_MF_STRICT = 1
    MPOL_MF_MOVE = 2


cdef object refused(str call):
    return OSError(errno, f"the host refuses {call}")


def map_pages(size_t pages) -> int:
    """Map so many small pages, none of them present; returns the address."""
    cdef void *at = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if at == MAP_FAILED:
        raise refused("mmap")
    madvise(at, pages << 12, MADV_NOHUGEPAGE)
    return <uintptr_t>at


def touch(uintptr_t address, size_t pages) -> None:
    """Store one byte in each page."""
    cdef volatile uint8_t *at = <uint8_t *>address
    cdef size_t i
    with nogil:
        for i in range(pages):
            at[i << 12] = 1


def unmap(uintptr_t address, size_t pages) -> None:
    """munmap()."""
    if munmap(<void *>address, pages << 12):
        raise refused("munmap")


def keep_from_children(uintptr_t address, size_t size) -> None:
    """Leave whole pages of this process out of fork(): neither copied by it, nor write-protected after it."""
    if madvise(<void *>address, size, MADV_DONTFORK):
        raise refused("madvise")


def fork_child() -> int:
    """fork(); the child ends at once. Returns its pid, to be given to wait_child()."""
    cdef int pid = fork()
    if pid == 0:
        _exit(0)
    if pid < 0:
        raise refused("fork")
    return pid


def wait_child(int pid) -> None:
    """waitpid()."""
    waitpid(pid, NULL, 0)


def pages_status(uint64_t[::1] addresses, int32_t[::1] status) -> None:
    """move_pages() without nodes: where is each page?"""
    cdef long done
    with nogil:
        done = syscall(SYS_move_pages, 0, <size_t>addresses.shape[0], &addresses[0], NULL, &status[0], 0)
    if done < 0:
        raise refused("move_pages")


def bind(uintptr_t address, size_t pages, uint64_t nodes) -> None:
    """mbind(MPOL_BIND, MPOL_MF_MOVE | MPOL_MF_STRICT): with each page where it should be, a walk that moves nothing."""
    cdef long done
    with nogil:
        done = syscall(SYS_mbind, address, pages << 12, MPOL_BIND, &nodes, 64, MPOL_MF_MOVE | MPOL_MF_STRICT)
    if done < 0:
        raise refused("mbind")
