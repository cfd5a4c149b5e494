# What a kernel relies on, said where it relies on it. A debug build (setup.py) looks each time, and ends the process at
# the first lie, naming the line; other builds compile nothing of it, so hot code may say as much as it likes.
#
# Mirrors include/linux/mmdebug.h. Deliberately different: a page is named by its frame.

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #ifndef NUMALAB_MMDEBUG
    #define NUMALAB_MMDEBUG
    #ifdef NUMALAB_DEBUG
    #include <stdio.h>
    #include <stdlib.h>
    #define CONFIG_DEBUG_VM 1
    #define NUMALAB_BUG(...) (fprintf(stderr, "kernel BUG at %s:%d!", __FILE__, __LINE__), \\
        fprintf(stderr, __VA_ARGS__), fflush(stderr), abort())
    #define VM_BUG_ON(wrong) ((wrong) ? NUMALAB_BUG("\\n") : (void)0)
    #define VM_BUG_ON_PAGE(wrong, pfn) ((wrong) ? NUMALAB_BUG(" frame %llu\\n", (unsigned long long)(pfn)) : (void)0)
    #else
    #define CONFIG_DEBUG_VM 0
    #define VM_BUG_ON(wrong) ((void)(wrong))
    #define VM_BUG_ON_PAGE(wrong, pfn) ((void)(wrong), (void)(pfn))
    #endif
    #endif
    """
    const bint config_debug_vm "CONFIG_DEBUG_VM"
    void VM_BUG_ON(bint wrong) noexcept nogil
    void VM_BUG_ON_PAGE(bint wrong, uint64_t pfn) noexcept nogil
