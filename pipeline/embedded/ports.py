"""Which port a server gets: the configured one, the one it had last time, or a free one.  All on the loopback address.

Free ports are drawn at random below the range from which Linux takes ports for outgoing connections (32768 and up): such a
connection could otherwise take the port between our look and the server's bind, or while the server is down.  The port stays
the same over restarts, since open consoles, notebooks and `trainwatch.yaml` of other machines name it.
"""

import secrets
import socket
from collections.abc import Collection

from pipeline.errors import ServerFailed

HOST = "127.0.0.1"
FIRST, LAST = 20_000, 31_999
DRAWS_MAX = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now.  Ports in TIME_WAIT count as free, as they do for both servers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            # Bind alone succeeds beside a socket that is bound but not yet listening.
            probe.listen(1)
        except OSError:
            return False
    return True


def is_open(port: int, *, host: str = HOST) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def choose(setting: str, *, configured: int, remembered: int | None, taken: Collection[int] = ()) -> int:
    """A port for the server.  `taken` are ports promised to others in the same run.

    Raises ServerFailed when the configured port is in use: moving away from it in silence would surprise its clients.
    """
    if configured:
        if configured in taken:
            raise ServerFailed(
                f"port {configured} is set for two servers", advice=f"Set {setting} to another port, or to 0 for a free one."
            )
        if not is_free(configured):
            message = f"port {configured} on {HOST} is already in use (setting {setting})"
            raise ServerFailed(message, advice=f"Stop what listens there, or set {setting} to another port, or to 0 for a free one.")
        return configured
    if remembered is not None and remembered not in taken and is_free(remembered):
        return remembered
    for _ in range(DRAWS_MAX):
        port = FIRST + secrets.randbelow(LAST - FIRST + 1)
        if port not in taken and is_free(port):
            return port
    message = f"no free port found between {FIRST} and {LAST} on {HOST}"
    raise ServerFailed(message, advice=f"Set {setting} to a port that is free.")
