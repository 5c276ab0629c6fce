"""The state of 45 days on a real broker: settings of a run with it, and its state topics filled.

The state is the one that `state.py` makes, judged by the same release and settings, with the inputs to be read from their start.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer

from pipeline.bench import state
from pipeline.bench.job_full import inputs
from pipeline.bench.ours import topology_of
from pipeline.bench.site import Site
from pipeline.runtime.access import client
from pipeline.runtime.state_record import META, Meta, pack, parse_key, unpack
from pipeline.settings import Settings
from pipeline.topology import Topology

PATIENCE_SECONDS = 300.0
PATIENT = {"delivery_timeout_ms": round(1000 * PATIENCE_SECONDS)}  # by default two minutes, in which a busy broker has not taken it all
GOODBYE_SECONDS = 2.0  # everything is acknowledged by then, or nobody waits for it any more
LOADED = 10_000  # records between two looks at what the broker has


def load_state(site: Site, scale: float, topics: dict[str, str], content: Mapping[str, Any]) -> tuple[Settings, Topology]:
    """Settings of a run on these inputs, whose state topics hold this share of the state.  `content` is the operator's part of them."""
    roots = [*content.get("artefact_roots", ()), *state.SETTINGS.model_dump()["artefact_roots"]]
    settings = site.settings_of_run({**content, "artefact_roots": roots}, inputs(topics))
    topology = topology_of(settings)
    site.prepare(settings, topology)
    path = site.folder / "state"
    site.say("making the state: many minutes at its full size")
    state.make(scale, path, settings, judged=True)
    records, size = _send(settings, topology, path)
    path.unlink()
    site.say(f"state: {records:,} records, {size / 1e6:,.0f} MB in the state topics")
    return settings, topology


def _send(settings: Settings, topology: Topology, path: Path) -> tuple[int, int]:
    """Send the live records of a made state to the state topics; answers with their number and bytes.  Raises KafkaError."""
    read = {stage.name: topology.state_topic(stage.reads[0]) for stage in topology.stages}
    count = size = 0
    with ExitStack() as stack:
        producer = client(
            KafkaProducer, settings.kafka, client_id="trainwatch-bench", acks="all", linger_ms=20, batch_size=1 << 18, **PATIENT
        )
        stack.callback(producer.close, timeout=GOODBYE_SECONDS)
        sent = []
        for stage, number, name, value in state.records_of(path):
            content = _from_the_start(name, value)
            sent.append(producer.send(read[stage], key=name.encode(), value=content, partition=number))
            count, size = count + 1, size + len(name) + len(content)
            if len(sent) >= LOADED:
                sent = _acknowledged(producer, sent)
        _acknowledged(producer, sent)
    return count, size


def _acknowledged(producer: Any, sent: Sequence[Any]) -> list[Any]:
    producer.flush()
    for each in sent:
        each.get(PATIENCE_SECONDS)
    return []


def _from_the_start(name: str, value: bytes) -> bytes:
    """The record, of a partition whose facts are read from their start: here its topic is empty."""
    kind, _ = parse_key(name)
    record = unpack(kind, value) if kind == META else None
    return pack(msgspec.structs.replace(record, applied=0)) if isinstance(record, Meta) else value
