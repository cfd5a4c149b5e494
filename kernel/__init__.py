"""Tasks, scheduler, credentials, cgroups and cpusets, files, /proc and /sys, boot."""
