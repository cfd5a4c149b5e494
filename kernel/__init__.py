"""Tasks, scheduler, credentials, cpusets, files, /proc and /sys, boot."""
