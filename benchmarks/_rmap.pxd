# The kernel's own declarations, for the copy of it in _rmap.pyx.
include "../mm/_rmap.pxd"
