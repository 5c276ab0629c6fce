"""How good the detectors are: simulated periods with known truth in; recall, precision, false findings and delays out.

`truth.py` what really happened, `match.py` which finding is about which act, `incidents.py` whether incidents tell person and loss rightly,
`seed.py` one period through the whole pipeline in memory, `results.py` the file of finished ones, `table.py` many of them with confidence
intervals.  The simulator knows nothing of detectors, and nothing here knows how they judge.
"""
