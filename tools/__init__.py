"""What people run: command line, REPL, scenario runner, look-alikes."""
