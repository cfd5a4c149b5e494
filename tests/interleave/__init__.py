"""The explorer of interleavings: what happens if tasks change at the worst moment (README.md)."""
