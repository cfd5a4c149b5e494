"""The scenario language: text scripts, one system-call-level operation a line, one result line each."""
