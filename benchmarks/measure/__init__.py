"""What each gate measures: one module a subject, whose ``measure()`` returns a value, or a Skipped, for each of its
gates.
"""
