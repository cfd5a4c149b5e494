"""The hardware of a machine: topology, RAM, page-table format and walker, TLB, virtual clock, costs, events.

The lowest floor: nothing here knows of struct page, tasks or system calls. Compiled modules start with an underscore;
each has a plain-Python twin (`_x_reference.py`) where it computes something that can be computed twice.
"""
