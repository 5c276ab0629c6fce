"""The state of 45 days on a real broker: settings of a run with it, and its state topics filled.

The state is the one that `state.py` makes, judged by the same release and settings, with the inputs to be read from their start.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.bench import state
from pipeline.bench.job_full import inputs
from pipeline.bench.ours import topology_of
from pipeline.bench.site import Site
from pipeline.errors import FatalError
from pipeline.model.outcome import Record
from pipeline.runtime.state_record import META, Meta, pack, parse_key, unpack
from pipeline.settings import Settings
from pipeline.topology import Topology


def load_state(site: Site, scale: float, topics: dict[str, str], content: Mapping[str, Any]) -> tuple[Settings, Topology]:
    """Settings of a run on these inputs, whose state topics hold this share of the state.  `content` is the operator's part of them."""
    roots = [*content.get("artefact_roots", ()), *state.SETTINGS.model_dump()["artefact_roots"]]
    settings = site.settings_of_run({**content, "artefact_roots": roots}, inputs(topics))
    topology = topology_of(settings)
    site.prepare(settings, topology)
    path = site.folder / "state"
    site.say("making the state: many minutes at its full size")
    state.make(scale, path, settings, judged=True)
    topics_of_state = [topology.state_topic(stage.reads[0]) for stage in topology.stages if stage.name in state.STAGES]
    sent = site.send(topics_of_state, _records(topology, path))
    if sent.refused:
        raise FatalError(f"a record of state is larger than its topic accepts: {sent.refused[0]}")
    path.unlink()
    site.say(f"state: {sent.records:,} records, {sent.bytes / 1e6:,.0f} MB in the state topics")
    return settings, topology


def _records(topology: Topology, path: Path) -> Iterator[Record]:
    topic_of = {stage.name: topology.state_topic(stage.reads[0]) for stage in topology.stages}
    now = time.time_ns() // 1_000_000
    for stage, number, name, value in state.records_of(path):
        content = _from_the_start(name, value)
        yield Record(topic=topic_of[stage], partition=number, offset=0, timestamp=now, key=name.encode(), value=content)


def _from_the_start(name: str, value: bytes) -> bytes:
    """The record, of a partition whose facts are read from their start: here its topic is empty."""
    kind, _ = parse_key(name)
    record = unpack(kind, value) if kind == META else None
    return pack(msgspec.structs.replace(record, applied=0)) if isinstance(record, Meta) else value
