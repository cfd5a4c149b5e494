"""Moving whole pages: non-temporal stores, the next source page prefetched, the path chosen once for this CPU.

A migration writes pages that nobody will read for a while, so ordinary stores would read every target line into the
cache first and push out lines that are wanted. Non-temporal stores avoid both; and while one page streams out, the
hardware prefetcher does not know where the next source page is (frames are scattered), so each step of 128 bytes
fetches the same two lines of the *next* source page, into the second-level cache: it can wait for several times as many
lines as the first, which takes a third off the time of scattered pages (prefetchnta and prefetcht0 go to the first).

Mirrors arch/x86/lib/copy_page_64.S and clear_page_64.S. Deliberately different: Linux uses `rep movsb` and cached
stores here, since its callers usually touch the page next; copy one page for such a use with memcpy instead.

Three paths: AVX2, SSE2 (every x86-64 has it), memcpy (other processors). AVX-512 was tried and gains nothing.
The stores are weakly ordered: copy_fence() must follow the last page before anyone else may look at the copies.
"""

from libc.stdint cimport uint8_t, uint64_t

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE, Hardware
from numalab.arch._mmdebug cimport VM_BUG_ON

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    #define NUMALAB_PAGE 4096

    typedef void (*numalab_copy_t)(uint8_t *, const uint8_t *, const uint8_t *);
    typedef void (*numalab_zero_t)(uint8_t *);

    static void numalab_copy_plain(uint8_t *dst, const uint8_t *src, const uint8_t *next)
    {
        (void)next;
        memcpy(dst, src, NUMALAB_PAGE);
    }

    static void numalab_zero_plain(uint8_t *dst)
    {
        memset(dst, 0, NUMALAB_PAGE);
    }

    #if defined(__x86_64__) && defined(__GNUC__)
    #include <immintrin.h>

    static void numalab_copy_sse2(uint8_t *dst, const uint8_t *src, const uint8_t *next)
    {
        int at, i;
        for (at = 0; at < NUMALAB_PAGE; at += 128) {
            const __m128i *s = (const __m128i *)(src + at);
            __m128i *d = (__m128i *)(dst + at);
            __m128i v[8];
            _mm_prefetch((const char *)next + at, _MM_HINT_T1);
            _mm_prefetch((const char *)next + at + 64, _MM_HINT_T1);
            for (i = 0; i < 8; i++)
                v[i] = _mm_load_si128(s + i);
            for (i = 0; i < 8; i++)
                _mm_stream_si128(d + i, v[i]);
        }
    }

    static void numalab_zero_sse2(uint8_t *dst)
    {
        const __m128i zero = _mm_setzero_si128();
        int at;
        for (at = 0; at < NUMALAB_PAGE; at += 64) {
            _mm_stream_si128((__m128i *)(dst + at), zero);
            _mm_stream_si128((__m128i *)(dst + at + 16), zero);
            _mm_stream_si128((__m128i *)(dst + at + 32), zero);
            _mm_stream_si128((__m128i *)(dst + at + 48), zero);
        }
    }

    __attribute__((target("avx2")))
    static void numalab_copy_avx2(uint8_t *dst, const uint8_t *src, const uint8_t *next)
    {
        int at;
        for (at = 0; at < NUMALAB_PAGE; at += 128) {
            const __m256i *s = (const __m256i *)(src + at);
            __m256i *d = (__m256i *)(dst + at);
            __m256i a, b, c, e;
            _mm_prefetch((const char *)next + at, _MM_HINT_T1);
            _mm_prefetch((const char *)next + at + 64, _MM_HINT_T1);
            a = _mm256_load_si256(s);
            b = _mm256_load_si256(s + 1);
            c = _mm256_load_si256(s + 2);
            e = _mm256_load_si256(s + 3);
            _mm256_stream_si256(d, a);
            _mm256_stream_si256(d + 1, b);
            _mm256_stream_si256(d + 2, c);
            _mm256_stream_si256(d + 3, e);
        }
    }

    __attribute__((target("avx2")))
    static void numalab_zero_avx2(uint8_t *dst)
    {
        const __m256i zero = _mm256_setzero_si256();
        int at;
        for (at = 0; at < NUMALAB_PAGE; at += 128) {
            _mm256_stream_si256((__m256i *)(dst + at), zero);
            _mm256_stream_si256((__m256i *)(dst + at + 32), zero);
            _mm256_stream_si256((__m256i *)(dst + at + 64), zero);
            _mm256_stream_si256((__m256i *)(dst + at + 96), zero);
        }
    }

    static int numalab_can(int path)
    {
        if (path == 2) {
            __builtin_cpu_init();
            return __builtin_cpu_supports("avx2") != 0;
        }
        return path >= 0 && path < 2;
    }

    static void numalab_fence(void)
    {
        _mm_sfence();
    }

    static const numalab_copy_t numalab_copies[3] = {numalab_copy_plain, numalab_copy_sse2, numalab_copy_avx2};
    static const numalab_zero_t numalab_zeros[3] = {numalab_zero_plain, numalab_zero_sse2, numalab_zero_avx2};
    #else
    static int numalab_can(int path)
    {
        return path == 0;
    }

    static void numalab_fence(void)
    {
    }

    static const numalab_copy_t numalab_copies[3] = {numalab_copy_plain, numalab_copy_plain, numalab_copy_plain};
    static const numalab_zero_t numalab_zeros[3] = {numalab_zero_plain, numalab_zero_plain, numalab_zero_plain};
    #endif

    static numalab_copy_t numalab_copy = numalab_copy_plain;
    static numalab_zero_t numalab_zero = numalab_zero_plain;

    static void numalab_choose(int path)
    {
        numalab_copy = numalab_copies[path];
        numalab_zero = numalab_zeros[path];
    }
    """
    int numalab_can(int path) noexcept nogil
    void numalab_choose(int path) noexcept nogil
    void numalab_copy(uint8_t *dst, const uint8_t *src, const uint8_t *next) noexcept nogil
    void numalab_zero(uint8_t *dst) noexcept nogil
    void numalab_fence() noexcept nogil


cdef void copy_page_nt(uint8_t *dst, const uint8_t *src, const uint8_t *next_src) noexcept nogil:
    """Copy 4 KiB; dst and src are page aligned. next_src: the page copied after this one, NULL if there is none."""
    # Pages in order the hardware fetches itself, and better if nobody interferes. The prefetches then go to lines that
    # are being read anyhow, which costs nothing.
    VM_BUG_ON((<uint64_t>dst | <uint64_t>src) & (PAGE_SIZE - 1) or dst == src)
    numalab_copy(dst, src, src if next_src == NULL or next_src == src + PAGE_SIZE else next_src)


cdef void zero_page_nt(uint8_t *dst) noexcept nogil:
    """Zero 4 KiB; dst is page aligned. For ranges: a single faulting page is touched next, memset suits it better."""
    VM_BUG_ON(<uint64_t>dst & (PAGE_SIZE - 1))
    numalab_zero(dst)


cdef void copy_fence() noexcept nogil:
    """Make all pages copied or zeroed so far visible before anything stored later (SDM vol. 1, 11.6.13)."""
    numalab_fence()


_PATHS = ("memcpy", "sse2", "avx2")
_path = "memcpy"


def paths():
    """Names of the paths that this CPU can run, slowest first."""
    return tuple(name for index, name in enumerate(_PATHS) if numalab_can(index))


def which():
    """The path in use: 'avx2', 'sse2' or 'memcpy'."""
    return _path


def choose(str path):
    """Use one path from now on, in the whole process. Raises ValueError for one that this CPU cannot run."""
    global _path
    if path not in paths():
        raise ValueError(f"copy path {path!r} is not one of {', '.join(paths())} on this CPU")
    numalab_choose(_PATHS.index(path))
    _path = path


cdef uint64_t _first_bad(const uint64_t[::1] pfns, uint64_t limit) noexcept nogil:
    """Index of the first pfn that lies outside RAM, or the length."""
    cdef Py_ssize_t i
    for i in range(pfns.shape[0]):
        if pfns[i] >= limit:
            return <uint64_t>i
    return <uint64_t>pfns.shape[0]


def copy_pages(Hardware hw not None, const uint64_t[::1] src_pfns, const uint64_t[::1] dst_pfns):
    """Copy frame src_pfns[i] to frame dst_pfns[i] for each i, in order, with one fence at the end.

    Two uint64 arrays of one length; no virtual time is charged. Raises ValueError for unequal lengths or a frame that
    does not exist.
    """
    cdef Py_ssize_t n = src_pfns.shape[0], i
    cdef uint8_t *ram = hw.h.ram
    cdef uint64_t limit = hw.h.nr_frames
    if dst_pfns.shape[0] != n:
        raise ValueError(f"{n} source pages, but {dst_pfns.shape[0]} targets")
    if _first_bad(src_pfns, limit) != <uint64_t>n or _first_bad(dst_pfns, limit) != <uint64_t>n:
        raise ValueError(f"a frame number is outside RAM (0..{limit - 1})")
    with nogil:
        for i in range(n):
            copy_page_nt(ram + (dst_pfns[i] << PAGE_SHIFT), ram + (src_pfns[i] << PAGE_SHIFT),
                         NULL if i + 1 == n else ram + (src_pfns[i + 1] << PAGE_SHIFT))
        copy_fence()


def zero_pages(Hardware hw not None, const uint64_t[::1] pfns):
    """Zero each frame, with one fence at the end. Raises ValueError for a frame that does not exist."""
    cdef Py_ssize_t n = pfns.shape[0], i
    cdef uint8_t *ram = hw.h.ram
    if _first_bad(pfns, hw.h.nr_frames) != <uint64_t>n:
        raise ValueError(f"a frame number is outside RAM (0..{hw.h.nr_frames - 1})")
    with nogil:
        for i in range(n):
            zero_page_nt(ram + (pfns[i] << PAGE_SHIFT))
        copy_fence()


choose(max(paths(), key=_PATHS.index))
