# The kernel's own declarations, for the copy of it in _lru.pyx.
include "../mm/_vmscan.pxd"
