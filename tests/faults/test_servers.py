"""Faults of servers, one seed each, on the real broker and the real ClickHouse: nothing lost, nothing twice, the same findings."""

import socket
import struct
import time
from pathlib import Path

import pytest

from pipeline.embedded import servers as embedded
from pipeline.embedded.servers import State
from pipeline.settings import Settings
from tests.faults.carry_out import carry_out, names

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("name", names("on_servers"))
def test_fault(name: str, shared: Settings, tmp_path: Path) -> None:
    """Whatever was done, the account is right; and it was done."""
    carry_out(name, shared, tmp_path)


@pytest.mark.parametrize("name", ["kill_clickhouse", "kill_broker", "mixed_servers"])
def test_killed_server(name: str, breakable: Settings, tmp_path: Path) -> None:
    """The same, on servers of this module's own."""
    carry_out(name, breakable, tmp_path)


def test_a_reset_connection_does_not_end_clickhouse(breakable: Settings) -> None:
    """What a worker killed in the middle of an insert leaves behind, on both ports: the engine alone would end at it."""
    addresses = embedded.up(breakable, say=print)
    for port in (addresses.clickhouse_port, addresses.clickhouse_http_port):
        for _ in range(3):
            connection = socket.create_connection((addresses.clickhouse_host, port), timeout=5)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(b"GET /?query=SELECT%20sleep(1) HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.close()
    time.sleep(0.5)
    assert embedded.status(breakable).clickhouse.state is State.RUNNING
