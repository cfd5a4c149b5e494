# The kernel's own declarations, for the copy of it in _walker.pyx.
include "../arch/_pagetable.pxd"
