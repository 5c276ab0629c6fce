"""ClickHouse: rows in, blocks out.

`step.py` makes rows of the public topics, `rows.py` knows tables and columns, `clickhouse.py` is the only user of the driver, `memory.py`
the same without a server, `migrate.py` builds the tables from `schemas/clickhouse`, `verify.py` checks that nothing is lost or doubled.
"""
