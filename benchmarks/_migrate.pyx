"""The migration kernels with or without the copies: what all but them costs."""

cdef extern from *:
    """
    static int copying = 1;
    /* Cython's name of copy_page_nt(): a call of it is this macro, anything else is the function. */
    #define __pyx_f_7numalab_4arch_5_copy_copy_page_nt(dst, src, next) \
        do { if (copying) (__pyx_f_7numalab_4arch_5_copy_copy_page_nt)(dst, src, next); } while (0)
    """
    int copying

include "../mm/_migrate.pyx"


def set_copying(bint on) -> None:
    """Whether migrate_batch() copies the pages that it moves. The programs lose their bytes if it does not."""
    global copying
    copying = on
