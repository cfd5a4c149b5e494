"""Look-alikes of the programs that people use NUMA with: a file each, named like the program.

They are programs of the machine, ``NAME(sys)``, and know it by its system calls, /proc and /sys alone. What they
print, where, and their exit statuses are those of numactl 2.0.16 and util-linux 2.38; tests/golden/numactl holds what
the real ones answered on a machine with four nodes. ``tools/programs.py`` finds them by name.
"""
