"""Trace events of a running machine: recording them, and writing them down as ftrace or for Perfetto."""
