"""What is judged: a detector is a pure function of a case and the watermarks; benign explanations come first.

`case.py` is what a detector sees, `benign*.py` the harmless explanations, `rules/` one file per pattern, `verdict.py` what is said of
every ended job, `gates.py` when a hit is an alert and when a person is named.
"""
