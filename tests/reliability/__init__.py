"""How reliably migration empties a node: `make reliability` runs it and writes docs/reliability.md."""
