"""A TCP proxy between worker and ClickHouse: answers that come late, never, or to nobody.

    worker ──► proxy ──► ClickHouse          pass     both ways, as they come
           ◄── answers ◄──                   slow     every answer waits
                                             lost     the answer to an insert is swallowed and the connection cut: the rows are in
                                             late     the answer to an insert comes when the client has long given up
                                             half     the rows of an insert stay on the way: the server runs it and waits for them
                                             silent   connections are accepted, and nothing is ever said
                                             refuse   connections are closed at once

Threads and blocking sockets, since a run has one or two connections.  An insert is known by its text in the client's bytes: the server
first answers with an empty block, then the client sends its rows; what the server says after these is the answer that matters.

Holds: in mode `pass` no byte is changed; `touched` counts what was done to answers and connections.
"""

import contextlib
import socket
import threading
import time

CHUNK = 1 << 16
INSERT = b"INSERT INTO"
LINGER_SECONDS = 60.0


class Proxy:
    """Listens on a free port of the loopback address and passes on to `port`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.mode = "pass"
        self.seconds = 0.0  # of `slow` and `late`
        self.touched = 0
        self._open: list[socket.socket] = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End everything."""
        self._closed = True
        self._shut(self._listener)
        for each in list(self._open):
            self._shut(each)

    def set(self, mode: str, seconds: float = 0.0) -> None:
        """From now on, also for connections that are open."""
        self.mode, self.seconds = mode, seconds

    def target(self, port: int) -> None:
        """Where new connections go from now on."""
        self._target = (self._target[0], port)

    def cut(self) -> None:
        """Cut what is open."""
        for each in list(self._open):
            self._shut(each)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "refuse":
                self.touched += 1
                self._shut(client)
                continue
            try:
                server = socket.create_connection(self._target, timeout=5.0)
            except OSError:
                self._shut(client)
                continue
            server.settimeout(None)
            self._open += [client, server]
            link = _Link(self, client, server)
            threading.Thread(target=link.upstream, daemon=True).start()
            threading.Thread(target=link.downstream, daemon=True).start()

    @staticmethod
    def _shut(each: socket.socket) -> None:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


class _Link:
    """One connection."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._inserting = False  # the client asked for an insert
        self._asked = False  # the server has answered with its empty block
        self._rows = False  # the client has sent rows since

    def upstream(self) -> None:
        """Client to server."""
        with contextlib.suppress(OSError):
            while data := self._client.recv(CHUNK):
                if INSERT in data:
                    self._inserting, self._asked, self._rows = True, False, False
                elif self._inserting and self._asked:
                    self._rows = True
                    if self._proxy.mode == "half":
                        self._proxy.touched += 1
                        self._linger("half")
                self._server.sendall(data)
        self._end()

    def downstream(self) -> None:
        """Server to client."""
        with contextlib.suppress(OSError):
            while data := self._server.recv(CHUNK):
                if not self._deliver(data):
                    break
        self._end()

    def _deliver(self, data: bytes) -> bool:
        """False: the connection is to be cut."""
        proxy, answer = self._proxy, self._inserting and self._rows
        if proxy.mode == "silent":
            proxy.touched += 1
            self._linger("silent")
            return False
        if proxy.mode == "slow":
            proxy.touched += 1
            time.sleep(proxy.seconds)
        elif proxy.mode == "lost" and answer:
            proxy.touched += 1
            return False
        elif proxy.mode == "late" and answer:
            proxy.touched += 1
            time.sleep(proxy.seconds)
        if self._inserting and not self._asked:
            self._asked = True
        elif answer:
            self._inserting = False
        self._client.sendall(data)
        return True

    def _linger(self, mode: str) -> None:
        """Until the mode is another or the client is gone."""
        deadline = time.monotonic() + LINGER_SECONDS
        while self._proxy.mode == mode and time.monotonic() < deadline and self._client.fileno() != -1:
            time.sleep(0.05)

    def _end(self) -> None:
        for each in (self._client, self._server):
            Proxy._shut(each)
            with contextlib.suppress(ValueError):
                self._proxy._open.remove(each)
