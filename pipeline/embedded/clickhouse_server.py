"""A ClickHouse server out of libchdb.so: paths and ports in, a process that listens until SIGTERM out.

The library's `query_stable_v2` is ClickHouse's own command-line entry point.  The argument list makes it open the native TCP and
the HTTP port and then run a query that never ends.  The call blocks and holds the process, so this is a program of its own; only
the standard library is imported, so that it starts quickly and runs from its file.

Both ports are served by a relay of ours: when a client's connection is *reset*, as by `kill -9` of a worker in the middle of an
insert, or does not begin with a hello of the native protocol, the library ends the whole process by an exception that nobody catches
(26.7.2.1).  Behind the relay it sees orderly ends, and no client that speaks TLS or something else.  What kills it nevertheless, a
hello that breaks off say, is for `supervisor.py`, which starts this program again.

    worker ──► relay 127.0.0.1:port ──► engine 127.0.0.2:port, which is loopback too

SIGTERM ends it at once; MergeTree data survive SIGTERM and SIGKILL.  SIGINT would hang inside the library, so it is ignored here.
Not there: users and grants (loopback only), query_log, part_log, Replicated tables.
"""

import argparse
import contextlib
import ctypes
import signal
import socket
import sys
import threading
import time

ENGINE_HOST = "127.0.0.2"
CHUNK_BYTES = 256 << 10
NATIVE_BEGINS = b"\0"  # the number of the packet Hello
ACCEPT_AGAIN_SECONDS = 0.1
# Blocks for ever: one row a second, thrown away.  The format is set on this query alone, since a global --output-format=Null
# would also empty the answers of HTTP clients.
HOLD_OPEN = (
    "SELECT sleepEachRow(1) FROM system.numbers SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null"
)


class QueryResult(ctypes.Structure):
    """`local_result_v2` of the library's header."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
        ("_vec", ctypes.c_void_p),
        ("elapsed", ctypes.c_double),
        ("rows_read", ctypes.c_uint64),
        ("bytes_read", ctypes.c_uint64),
        ("error_message", ctypes.c_char_p),
    ]


class Relay:
    """Passes connections on to the engine, and never passes on a reset.  `begins` is what every client says first; empty: anything."""

    def __init__(self, host: str, port: int, engine: tuple[str, int], begins: bytes = b"") -> None:
        self._listener = socket.create_server((host, port))
        self._engine, self._begins = engine, begins
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # gone before we took it, or too many files are open
                time.sleep(ACCEPT_AGAIN_SECONDS)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            fits = not self._begins or client.recv(len(self._begins), socket.MSG_PEEK) == self._begins
            engine = socket.create_connection(self._engine) if fits else None
        except OSError:  # the engine is not there yet, or the client no longer is
            engine = None
        if engine is None:
            client.close()
            return
        for each in (client, engine):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_pass_on, args=(engine, client), daemon=True)
        back.start()
        _until_both_ended(client, engine, back)


def _until_both_ended(client: socket.socket, engine: socket.socket, back: threading.Thread) -> None:
    """A socket that is closed with unread bytes resets its connection: close when everything is read."""
    _pass_on(client, engine)
    back.join()
    client.close()
    engine.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """All bytes of one direction, then its end.  What the target no longer takes is read all the same."""
    buffer = bytearray(CHUNK_BYTES)
    view = memoryview(buffer)
    broken = False
    with contextlib.suppress(OSError):  # the source was reset: its end all the same
        while count := source.recv_into(buffer):
            if not broken:
                try:
                    target.sendall(view[:count])
                except OSError:
                    broken = True
                    with contextlib.suppress(OSError):
                        source.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def server_arguments(*, path: str, log: str, host: str, tcp_port: int, http_port: int) -> list[str]:
    """The argument list that turns the local engine into a listening server."""
    return [
        "clickhouse",
        "--multiquery",
        f"--logger.log={log}",
        "--logger.level=warning",
        f"--path={path}",
        f"--listen_host={host}",
        f"--tcp_port={tcp_port}",
        f"--http_port={http_port}",
        f"--query=SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; {HOLD_OPEN}",
        *("--", f"--backups.allowed_path={path}.backups"),  # BACKUP ... TO File('name') goes there
    ]


def serve(library: str, arguments: list[str]) -> str:
    """Enter the engine; returns, with its error text, only if it could not start or the holding query ended."""
    entry = ctypes.CDLL(library).query_stable_v2  # CDLL releases the interpreter lock during the call
    entry.restype = ctypes.c_void_p
    entry.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    argv = (ctypes.c_char_p * len(arguments))(*[argument.encode() for argument in arguments])
    address = entry(len(arguments), argv)
    if not address:
        return "the engine returned no result"
    message: bytes | None = QueryResult.from_address(address).error_message
    return message.decode(errors="replace") if message else "the engine stopped"


def main() -> None:
    parser = argparse.ArgumentParser(description="A ClickHouse server out of libchdb.so.")
    parser.add_argument("--library", required=True, help="path of libchdb.so")
    parser.add_argument("--path", required=True, help="data directory, one server per directory")
    parser.add_argument("--log", required=True, help="log file: warnings and errors")
    parser.add_argument("--host", default="127.0.0.1", help="there is no password: keep it on loopback")
    parser.add_argument("--tcp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for port, begins in ((options.tcp_port, NATIVE_BEGINS), (options.http_port, b"")):
        Relay(options.host, port, (ENGINE_HOST, port), begins)
    arguments = server_arguments(
        path=options.path, log=options.log, host=ENGINE_HOST, tcp_port=options.tcp_port, http_port=options.http_port
    )
    sys.exit(serve(options.library, arguments))


if __name__ == "__main__":
    main()
