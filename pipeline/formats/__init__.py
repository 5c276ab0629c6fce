"""Bytes in, typed events out; pure, bounded and unimpressed by what a log author writes.

    record value -> envelopes/ -> Line (payload line, host, file, collected time) -> payloads/ -> Parsed events

`registry.py` lists the formats and sniffs; one module a format.
"""
