"""Faults on purpose: a seeded stream in, real servers and workers broken while it runs, a word on whether anything was lost out.

For `trainwatch bench faults`, `trainwatch bench soak` and `tests/faults`.  One run is one fault and one seed:

    simulated day ──► feed ──► Kafka ──► workers ──► ClickHouse ──► account: every offset once? the same findings as in memory?
                                 ▲          ▲            ▲
                                 └──────────┴────────────┘ the fault, at moments drawn from the seed

    table                  every fault: what it does, and how we know that it bit
    on_workers, on_servers, on_input       what they do
    run, suite             one run; many runs, repeated until they bite, with results that survive a stop
    soak                   hours of small troubles, watched
    site, feed, worker, proxy, state_v1    what a run is made of
    account                what came out, compared

Holds: a run in which the fault did not bite proves nothing and is not counted.
"""
