"""Names of files, and the files that the kernel makes up: /proc and /sys."""
