"""What the worker tells of ownership, offsets, checkpoints and sink in; whether it is well, and why not, out; over HTTP too.

    /healthz   200, or 503 with reasons: no progress on a partition with lag, no finished checkpoint, no assignment, a blocked loop
    /readyz    200 when the state of the present assignment is recovered, 503 until then
    /metrics   for Prometheus

Served by prometheus_client's WSGI application under the standard library's server, in threads of its own: a web framework in the event
loop would fall silent just when it is asked whether the loop turns, and Faust starts its own server only after recovery.

Progress means that what is *durable* moves: folding alone would look well while no checkpoint ends.  An unreachable sink is unhealthy
but never a hang; nor is a broker of which we have not heard the end offsets lately: to begin again would help neither.  Take-over has no
limit here beyond being reported, because how long it may take depends on how much state there is.

Holds: answers are made of copies, so they are right while the loop stands still; ages are counted on the clock of the watchdog, which
does not run while the process is frozen.
"""

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import Logger
from socketserver import TCPServer
from typing import Any, NamedTuple, Protocol
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from pipeline.runtime.partition import Source

PORTS_TRIED = 32
REASONS_MAX = 8  # partitions named in one answer
LONG_CALL_SECONDS = 5.0  # of the sink, which count as its absence


class Answering(Protocol):
    """Who is asked: a worker or a notifier."""

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Status line and JSON body of a path, None when it is not ours."""


class Counting(Protocol):
    """Whose metrics are scraped."""

    @property
    def registry(self) -> CollectorRegistry:
        """Of prometheus_client."""


class Reading(NamedTuple):
    """Where one owned partition stands."""

    source: Source
    first: int  # of the log
    durable: int  # next offset that a restart would read
    end: int  # to reach; not more than `durable` when only transaction markers are after it

    @property
    def lag(self) -> int:
        return max(0, self.end - self.durable)


class _Since(NamedTuple):
    durable: int
    at: float
    lag: int


class Health:
    """Told in the event loop, asked from any thread.  `now` is the watchdog's clock."""

    def __init__(self, unhealthy_seconds: float, now: Callable[[], float], blocked: Callable[[], float]) -> None:
        self._limit, self._now, self._blocked = unhealthy_seconds, now, blocked
        self._owned = 0
        self._recovered = self._taking_over = False
        self._unassigned_since: float | None = now()
        self._checkpoint_ended: float | None = None  # None: nothing owned
        self._progress: Mapping[Source, _Since] = {}
        self._read = now()
        self._unread = ""
        self._sink_failing: float | None = None
        self._sink_error = ""
        self._calls: dict[int, float] = {}  # thread -> since when it waits for the sink
        self._away_until = now()  # sink or broker: no hang before that

    # --- told

    def assigned(self) -> None:
        """The group has given us partitions; their state is not recovered yet."""
        self._recovered, self._taking_over = False, True
        self._unassigned_since = self._now() if self._unassigned_since is None else self._unassigned_since

    def recovered(self, partitions: int) -> None:
        """Their state is."""
        now = self._now()
        self._progress, self._read = {}, now
        self._owned, self._recovered, self._taking_over, self._unassigned_since = partitions, True, False, None
        self._checkpoint_ended = now if partitions else None

    def dropped(self) -> None:
        """They were taken away."""
        self._owned, self._recovered, self._taking_over, self._checkpoint_ended, self._progress = 0, False, False, None, {}
        self._unassigned_since = self._now() if self._unassigned_since is None else self._unassigned_since

    def checkpoint_ended(self) -> None:
        """All steps of one."""
        if self._checkpoint_ended is not None:
            self._checkpoint_ended = self._now()

    def read(self, readings: Iterable[Reading]) -> None:
        """The offsets of all owned partitions were looked at."""
        now, before = self._now(), self._progress
        progress = {}
        for reading in readings:
            last = before.get(reading.source)
            same = last is not None and last.durable == reading.durable and reading.lag
            progress[reading.source] = _Since(reading.durable, last.at if same and last else now, reading.lag)
        if self._unread:
            self._away_until = now
        self._progress, self._read, self._unread = progress, now, ""

    def unread(self, why: str) -> None:
        """They could not be."""
        self._unread = why

    def sink_calls(self) -> None:
        """A call to the sink is under way, in this thread."""
        self._calls[threading.get_ident()] = self._now()

    def sink_answered(self, error: str = "") -> None:
        """With an error, or none."""
        now, called = self._now(), self._calls.pop(threading.get_ident(), None)
        if not error:
            if self._sink_failing is not None or (called is not None and self._age(called) > LONG_CALL_SECONDS):
                self._away_until = now
            self._sink_failing = None
        elif self._sink_failing is None:
            # From the start of the call: it may have waited long for its answer.
            self._sink_failing = now if called is None else called
        self._sink_error = error

    # --- asked

    def unhealthy(self) -> list[str]:
        """Reasons; none is well."""
        return self._reasons(self._limit, excused=False)

    def unready(self) -> list[str]:
        """Reasons; none is ready."""
        if self._recovered:
            return []
        return [f"state is not recovered; no partitions are served for {self._age(self._unassigned_since):.0f} s"]

    def hangs(self, limit_seconds: float) -> str:
        """Why nothing has moved for so long although sink and broker answer; empty when it has, or they do not."""
        return "; ".join(self._reasons(limit_seconds, excused=True))

    def _reasons(self, limit: float, *, excused: bool) -> list[str]:
        reasons = [] if excused else self._causes(limit)
        floor = self._away_until if excused else 0.0
        if self._recovered and self._owned and not (excused and self._away()):
            reasons += self._standing(limit, floor)
            if self._checkpoint_ended is not None and (age := self._age(max(self._checkpoint_ended, floor))) > limit:
                reasons.append(f"no checkpoint has ended for {age:.0f} s")
        if not self._recovered and not (excused and self._taking_over) and (age := self._age(self._unassigned_since)) > limit:
            reasons.append(f"no assignment is recovered for {age:.0f} s")
        return reasons

    def _causes(self, limit: float) -> list[str]:
        """What makes everything else stand, so it is said first."""
        reasons = []
        if (blocked := self._blocked()) > limit:
            reasons.append(f"the event loop has not turned for {blocked:.0f} s")
        if (age := self.sink_failing_seconds()) > limit:
            reasons.append(f"the sink fails for {age:.0f} s: {self._sink_error or 'no answer'}")
        if self._recovered and self._owned and (age := self._age(self._read)) > limit:
            reasons.append(f"end offsets are unknown for {age:.0f} s: {self._unread or 'nobody has asked'}")
        return reasons

    def _standing(self, limit: float, floor: float) -> list[str]:
        # Age up to the last look: between two looks nothing is known of what moved.
        still = {source: since for source, since in self._progress.items() if since.lag and self._read - max(since.at, floor) > limit}
        named = [
            f"{source} stands at {since.durable} for {self._read - since.at:.0f} s with {since.lag} records to go"
            for source, since in sorted(still.items())[:REASONS_MAX]
        ]
        return [*named, f"and {len(still) - REASONS_MAX} more"] if len(still) > REASONS_MAX else named

    def sink_failing_seconds(self) -> float:
        """How long calls have failed, the one under way included when it takes long; 0 when the last one succeeded."""
        if self._sink_failing is not None:
            return self._age(self._sink_failing)
        longest = max(map(self._age, list(self._calls.values())), default=0.0)
        return longest if longest > self._limit else 0.0

    def _away(self) -> bool:
        """Is it sink or broker that we wait for?"""
        unheard = bool(self._unread) or self._age(self._read) > self._limit
        return unheard or self._sink_failing is not None or bool(self._calls)

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else self._now() - since

    def gauges(self) -> dict[str, float]:
        """The unlabelled ones, for `Metrics.computed`."""
        return {
            "trainwatch_healthy": float(not self.unhealthy()),
            "trainwatch_ready": float(self._recovered),
            "trainwatch_loop_blocked_seconds": self._blocked(),
            "trainwatch_checkpoint_age_seconds": self._age(self._checkpoint_ended),
            "trainwatch_sink_waiting_seconds": self.sink_failing_seconds(),
        }

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Status line and JSON body of a path, None when it is not ours."""
        if path == "/healthz":
            word, reasons = "healthy", self.unhealthy()
        elif path == "/readyz":
            word, reasons = "ready", self.unready()
        else:
            return None
        body = {word: not reasons, "reasons": reasons, "partitions": self._owned}
        return ("503 Service Unavailable" if reasons else "200 OK"), json.dumps(body).encode() + b"\n"


class _Server(ThreadingWSGIServer):
    def server_bind(self) -> None:
        """The stock one asks the name service for its own name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Quiet(WSGIRequestHandler):
    timeout = 10  # a client that sends nothing must not hold a thread for ever

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the signature of http.server
        """Probes come every few seconds."""


class HealthServer:
    """Serves from its own threads until closed."""

    def __init__(self, server: ThreadingWSGIServer) -> None:
        self._server = server
        self.url = f"http://{server.server_address[0]!s}:{server.server_port}"
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 1.0}, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(
    health: Answering, metrics: Counting, host: str, port: int, log: Logger, setting: str = "worker.health_port"
) -> HealthServer | None:
    """On the port, or the next free one; a worker must not die because somebody was there before.  None when no port is free, or port 0."""
    if not port:
        return None
    scrape: Any = make_wsgi_app(metrics.registry)

    def application(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Sequence[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            return scrape(environ, start_response)  # type: ignore[no-any-return]
        status, body = health.answer(path) or ("404 Not Found", b'{"paths": ["/healthz", "/readyz", "/metrics"]}\n')
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    wrong: OSError | None = None
    for number in range(port, min(port + PORTS_TRIED, 65_536)):
        try:
            server = make_server(host, number, application, _Server, _Quiet)
        except OSError as error:
            wrong = error
            continue
        served = HealthServer(server)
        note = "" if number == port else f" (port {port} is taken)"
        log.info("health: %s/healthz /readyz /metrics%s", served.url, note)
        return served
    log.warning("health is not served: no port from %d on is free at %s: %s; see %s", port, host, wrong, setting)
    return None
