"""Evidence: records of a range in, a signed root in a chain out; and a bundle that anybody can check without us.

    records ── leaves ── merkle ── chain ── signing ──► evidence_roots, trainwatch.evidence.v1, witness
                                                └────► bundle ──► verify (one file, needs nothing of ours)

`verify.py` defines every format, because whoever checks a bundle has that file alone; the rest of the room writes what it reads.
"""
