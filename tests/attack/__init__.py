"""The border under attack: calls, files and texts that nobody means well with."""
