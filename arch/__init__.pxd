# Makes `from numalab.arch._hw cimport hw` work for the floors above; the C faces are in the modules' own .pxd files.
