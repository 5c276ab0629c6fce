"""What interference cost: claims with their evidence in; two ledgers of lines, low, middle and high, out.

`claims.py` what is claimed of one attempt and why, `ledger.py` hours and money without counting anything twice, `prices.py` what an hour
costs when, `rumour.py` what people say against what the records say.  Everything is a pure function: the same claims in any order give the
same lines.
"""
