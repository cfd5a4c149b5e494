"""The border between programs and the kernel: the table, user pointers, one file per family of calls."""
