"""Speed, measured: loads made from a seed, our product and its peers run over them in turns, results checked, one table.

    bare, join, mix                       loads: JSON records, facts of a join, records of a whole site
    job_*                                 one per line of the table: what runs, on which load, and what is required
    ours, stock, join_*, bare_peers       who runs
    task, child, running, contest, site   processes under a meter, in interleaved rounds, on servers of their own
    report                                what came out
    local, state                          without servers: microseconds per stage; a large state written and read back
    formats, format_lines                 without servers: microseconds per line of each parser; the lines

Holds: a load is a function of seed and size; a figure is told only when the result behind it was checked against a reference that was
computed from the load and not from the run.
"""
