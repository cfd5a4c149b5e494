# The kernel's own declarations, for the copy of it in _buddy.pyx.
include "../mm/_rmap.pxd"
