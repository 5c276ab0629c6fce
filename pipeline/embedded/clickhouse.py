"""A ClickHouse server for one machine: its command line in, answers on its two ports out."""

import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Final

from pipeline.embedded import clickhouse_server, install, supervisor
from pipeline.embedded.files import Layout, rotate
from pipeline.embedded.ports import HOST
from pipeline.settings import Settings

NATIVE: Final = "clickhouse"
HTTP: Final = "clickhouse_http"


class ClickHouseServer:
    """The embedded database, as `servers` starts and asks it."""

    name = "clickhouse"
    # With room for a query over the demo's rows.
    memory_mib = 768

    def __init__(self, settings: Settings, layout: Layout) -> None:
        self._embedded = settings.embedded
        self._folder = layout.data(self.name)
        self._log = layout.logs / "clickhouse.log"
        self._restarts = layout.restarts(self.name)

    def wanted_ports(self) -> dict[str, tuple[str, int]]:
        return {
            NATIVE: ("embedded.clickhouse_port", self._embedded.clickhouse_port),
            HTTP: ("embedded.clickhouse_http_port", self._embedded.clickhouse_http_port),
        }

    def command(self, ports: Mapping[str, int]) -> list[str]:
        """Supervisor and server run from their files, isolated, so that they need no import path of ours."""
        rotate(self._log)
        return [
            *(sys.executable, "-I", supervisor.__file__, "--count", str(self._restarts), "--"),
            *(sys.executable, "-I", clickhouse_server.__file__),
            *("--library", str(install.find_clickhouse())),
            *("--path", str(self._folder / "data")),
            *("--log", str(self._log)),
            *("--host", HOST),
            *("--tcp-port", str(ports[NATIVE])),
            *("--http-port", str(ports[HTTP])),
        ]

    def answers(self, ports: Mapping[str, int]) -> bool:
        return answers_http(ports[HTTP]) and not says_hello(HOST, ports[NATIVE], user="default", password="")

    def addresses(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        return (f"{HOST}:{ports[NATIVE]}", f"http://{HOST}:{ports[HTTP]}/play")


def answers_http(port: int, *, timeout_seconds: float = 5.0) -> bool:
    """Whether `SELECT 1` over HTTP gives 1."""
    # A proxy of the environment must not be asked for the loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}/?query=SELECT%201", timeout=timeout_seconds) as answer:
            return bool(answer.read(16).strip() == b"1")
    except (OSError, urllib.error.URLError):
        return False


HELLO, EXCEPTION = 0, 2
REVISION = 54_400


def says_hello(host: str, port: int, *, user: str, password: str, tls: ssl.SSLContext | None = None, timeout_seconds: float = 5.0) -> str:
    """Greets a server on its native port, the one the sink uses; "" when it greets back, else what is wrong.

    Written out because the driver belongs to `sink/`, and because HTTP may be closed on a server that is used otherwise.
    """
    hello = bytes([HELLO]) + _text("trainwatch") + _number(1) + _number(0) + _number(REVISION)
    hello += _text("") + _text(user) + _text(password)
    try:
        plain = socket.create_connection((host, port), timeout=timeout_seconds)
        with plain if tls is None else tls.wrap_socket(plain, server_hostname=host) as connection:
            connection.settimeout(timeout_seconds)
            connection.sendall(hello)
            answer = connection.recv(4096)
    except OSError as error:
        return str(error)
    if answer[:1] == bytes([HELLO]):
        return ""
    if answer[:1] == bytes([EXCEPTION]):
        return "it refuses the account (settings clickhouse.user and clickhouse.password_file)"
    return "something else than ClickHouse answers there"


def _text(text: str) -> bytes:
    raw = text.encode()
    return _number(len(raw)) + raw


def _number(value: int) -> bytes:
    """LEB128, as the native protocol writes lengths."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
