"""A real Kafka broker and a real ClickHouse server for one machine: installed, started, stopped and described.

`servers.py` is what others call; `install.py` fetches the parts; `kafka.py` and `clickhouse.py` say what sets each server apart.
"""
