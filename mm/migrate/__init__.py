"""The migration engines: moving pages between nodes, and saying for each why it moved or did not."""
