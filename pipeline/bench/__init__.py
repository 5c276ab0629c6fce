"""Speed, measured: loads made from a seed, our product and its peers run over them in turns, results checked, one table.

    mix, records        loads: whole-path records from the simulator; JSON, auditd and join records from formulas
    local               the mix without servers: microseconds per record and stage, for tuning

Holds: a load is a function of seed and size; a figure is told only when the result behind it was checked against a reference that was
computed from the load and not from the run.
"""
