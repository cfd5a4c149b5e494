"""Random programs, a real kernel, and the difference: see README.md."""
