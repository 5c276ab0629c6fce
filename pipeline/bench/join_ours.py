"""Our own part of the interval join: facts in, pairs out, by the `Buffers` of the others in a stage of our worker.

What a stage must not forget is facts in its cases, and so it is here: what came of a host in one batch is one of them, until it lies
beyond the horizon.  They go into the state log with the offsets, and a worker that takes over builds its buffers from them; those of
the others are lost with the process.  Pairs are told to the next stage as facts.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from pipeline.bench import join
from pipeline.bench.buffers import Buffers, Told, decode_told, encode_pair
from pipeline.model.facts import Fact
from pipeline.model.outcome import Outcome, Tell
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, Topology

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Told]).decode


def topology(settings: Settings, topics: tuple[str, ...]) -> Topology:
    """One stage."""
    return Topology((Stage("hosts", topics, "facts", JoinState, step, tells=("jobs",)),), settings.kafka.topic_prefix)


class JoinState:
    """Of one partition."""

    def __init__(self, settings: Settings, cases: Cases) -> None:  # noqa: ARG002  as all states are built
        self.cases = cases
        self.buffers = Buffers()
        self._kept: deque[tuple[int, bytes, str]] = deque()  # (latest event time, host, fact id)
        self._latest = self._number = 0
        for host in cases:
            for fact_id, (_, body) in cases.of(host).items():
                known = _decode(body)
                for told in known:
                    self.buffers.take(host, told)  # the pairs were told
                self._note(host, fact_id, known)
                self._number = max(self._number, int(fact_id))

    def keep(self, came: dict[bytes, list[Told]]) -> None:
        """Remember a batch, forget what is beyond the horizon."""
        self._number += 1
        for host, told in came.items():
            self.cases.merge(Fact(host, str(self._number), b"", _encode(told)))
            self._note(host, str(self._number), told)
        while self._kept and self._kept[0][0] < self._latest - join.HORIZON_MS:
            self.cases.drop(*self._kept.popleft()[1:])

    def _note(self, host: bytes, fact_id: str, known: Sequence[Told]) -> None:
        latest = max(told.event_time for told in known)
        self._latest = max(self._latest, latest)
        self._kept.append((latest, host, fact_id))


def step(state: JoinState, batch: Sequence[Fact], now: Watermarks) -> tuple[JoinState, list[Outcome]]:  # noqa: ARG001  all steps alike
    """Join the facts of a batch with all that is known."""
    take = state.buffers.take
    came: dict[bytes, list[Told]] = {}
    outcomes: list[Outcome] = []
    for fact in batch:
        told = decode_told(fact.body)
        came.setdefault(fact.case, []).append(told)
        outcomes += [
            Tell("jobs", Fact(fact.case, f"{serial}/{job}", b"", encode_pair((serial, job)))) for serial, job in take(fact.case, told)
        ]
    if came:
        state.keep(came)
    return state, outcomes
