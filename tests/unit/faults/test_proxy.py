"""The proxy between worker and ClickHouse: it changes nothing, until it is told to."""

import socket
import threading
from collections.abc import Iterator

import pytest

from pipeline.faults.proxy import Proxy
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers  # for the loopback address; no server is needed

BLOCK, ROWS, DONE = b"block", b"rows", b"done"


class Echo:
    """Answers an insert as ClickHouse does: an empty block, then, behind the rows, the end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.inserted = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            while data := client.recv(1000):
                if data == ROWS:
                    self.inserted.set()
                client.sendall(BLOCK if data.startswith(b"INSERT") else DONE)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    it = Proxy(echo.port)
    yield it
    it.close()


def insert(proxy: Proxy, seconds: float = 5.0) -> bytes:
    """What a client gets for its rows; empty when the connection was cut."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=seconds) as client:
        client.sendall(b"INSERT INTO t VALUES")
        if client.recv(100) != BLOCK:
            return b""
        client.sendall(ROWS)
        return client.recv(100)


def test_passes_everything_on(proxy: Proxy) -> None:
    """And counts nothing as touched."""
    assert insert(proxy) == DONE
    assert proxy.touched == 0


def test_a_lost_answer_is_that_of_an_insert_that_landed(proxy: Proxy, echo: Echo) -> None:
    """The server has the rows, the client has nothing; when told to, everything passes again."""
    proxy.set("lost")
    assert insert(proxy) == b""
    assert echo.inserted.is_set()
    assert proxy.touched == 1
    proxy.set("pass")
    assert insert(proxy) == DONE


def test_a_silent_server_says_nothing(proxy: Proxy) -> None:
    """The client's own patience ends the wait."""
    proxy.set("silent")
    with pytest.raises(TimeoutError):
        insert(proxy, 0.3)


def test_refused_connections_end_at_once(proxy: Proxy) -> None:
    """By a reset or an end, before anything was said."""
    proxy.set("refuse")
    try:
        answer = insert(proxy)
    except ConnectionError:
        answer = b""
    assert answer == b""


def test_an_insert_stays_half_way(proxy: Proxy, echo: Echo) -> None:
    """The server was asked and waits; its rows come when everything passes again."""
    proxy.set("half")
    with pytest.raises(TimeoutError):
        insert(proxy, 0.3)
    assert proxy.touched == 1
    assert not echo.inserted.is_set()
    proxy.set("pass")
    assert echo.inserted.wait(PATIENCE_SECONDS)
