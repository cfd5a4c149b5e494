"""Memory: frames, lists, address spaces, faults, reclaim, swap, policy, migration."""
