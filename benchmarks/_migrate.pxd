# The kernel's own declarations, for the copy of it in _migrate.pyx.
include "../mm/_migrate.pxd"
