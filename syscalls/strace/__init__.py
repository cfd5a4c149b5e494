"""strace: system calls in the form that strace(1) prints them.

    mbind(0x7f64b9912000, 8192, MPOL_BIND, [0x00000000000001], 64, MPOL_MF_MOVE) = 0
    move_pages(0, 2, [0x7f64b9912000, 0x7f64b9913000], NULL, [0, -ENOENT], 0) = 0

The form is that of strace 6.1, byte for byte; tests/golden/strace holds what it printed.  Names that later versions
know are used where 6.1 has a number.  What is here, from the outside in:

    tracer       lines in the order of events: who is in front, who is unfinished, signals, exits
    trace_set    which calls are traced (-e trace=SET)
    summary      how often, how long, how many errors (-c)
    call         one call: its name, its arguments before and after, its result
    kinds        for each kind of argument in the system call table, the decoder that prints it
    numa, mem, files, mounts, process, clone, prctl, cred, limits, signals       the decoders, by family
    forms        what they are made of: numbers, flags, strings, arrays, structures
    view         a call as a decoder sees it

The tracer looks at memory through the page tables without faulting, so a traced run is the same run.
"""
