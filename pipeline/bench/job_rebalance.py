"""A worker that comes to another, with the state of 45 days on a real broker: how long until both read on.

    state topics filled ──► first worker: starts, takes all over ──► second worker: starts, both take their shares over
                            └────────── recovery ──────────┘         └──────────────── rebalance ────────────────┘

Both times begin with the process, so imports and the join of the group are in them.  Nothing flows in: what an input holds back meanwhile
is its rate times these seconds.  The state is the one that `state.py` makes, judged by the same release and settings, with the inputs to
be read from their start.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer

from pipeline.bench import state
from pipeline.bench.contest import task_of
from pipeline.bench.job_full import inputs, topics_of
from pipeline.bench.job_state import RECOVERY_SECONDS
from pipeline.bench.ours import topology_of
from pipeline.bench.report import OURS, JobReport, Requirement
from pipeline.bench.running import TAKEN_OVER, Running, started
from pipeline.bench.site import Site
from pipeline.runtime.access import client
from pipeline.runtime.state_record import META, Meta, pack, parse_key, unpack
from pipeline.settings import Settings
from pipeline.topology import Topology

PATIENCE_SECONDS = 300.0
PATIENT = {"delivery_timeout_ms": round(1000 * PATIENCE_SECONDS)}  # by default two minutes, in which a busy broker has not taken it all
GOODBYE_SECONDS = 2.0  # everything is acknowledged by then, or nobody waits for it any more
LOADED = 10_000  # records between two looks at what the broker has


def run(site: Site, scale: float) -> JobReport:
    """A share of the state of 45 days."""
    topics = topics_of(f"{site.name}.rebalance")
    site.create(topics.values())
    settings = site.settings_of_run(state.SETTINGS.model_dump(include={"artefact_roots"}), inputs(topics))
    topology = topology_of(settings)
    site.prepare(settings, topology)
    path = site.folder / "state"
    site.say("making the state: many minutes at its full size")
    state.make(scale, path, settings, judged=True)
    records, size = _load(settings, topology, path)
    path.unlink()
    site.say(f"state: {records:,} records, {size / 1e6:,.0f} MB in the state topics")
    task = task_of("mix", OURS, settings, tuple(topics.values()))
    with ExitStack() as stack:
        first, recovery = _until_taken_over(stack, site, task, ())
        site.say(f"first worker: all taken over after {recovery:.1f} s")
        second, rebalance = _until_taken_over(stack, site, task, (first,))
        site.say(f"second worker: both have their share after {rebalance:.1f} s")
        memory = max(each.resident_mib() for each in (first, second)) * 2**20 / 1e6
    site.remove(settings.kafka.group)
    site.remove(f"{site.name}.rebalance")
    figures = {"recovery of one worker, s": recovery, "rebalance between two, s": rebalance, "memory of the larger, MB": memory}
    report = JobReport(job="rebalance", title="Rebalance with the state of 45 days", load=f"{scale:g} of the full size", figures=figures)
    return report.judged([Requirement("recovery of one worker, s", RECOVERY_SECONDS, recovery, at_most=True)])


def _until_taken_over(stack: ExitStack, site: Site, task: Any, others: Sequence[Running]) -> tuple[Running, float]:
    """One worker more, and the seconds until it and the others have taken their partitions over."""
    before = [each.log().count(TAKEN_OVER) for each in others]
    begun = time.monotonic()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=site.folder)))
    new = stack.enter_context(started(task, folder))

    def done() -> bool:
        for each in others:
            each.check()
        again = all(each.log().count(TAKEN_OVER) > count for each, count in zip(others, before, strict=True))
        return again and TAKEN_OVER in new.log()

    new.until(done, PATIENCE_SECONDS)
    return new, time.monotonic() - begun


def _load(settings: Settings, topology: Topology, path: Path) -> tuple[int, int]:
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
