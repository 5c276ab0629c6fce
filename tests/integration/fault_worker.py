"""A worker process over a tiny topology, which faults where it is told to: `python -m tests.integration.fault_worker SPEC`.

    input ── count-ingest ─┬─ facts.count ── counts ── verdicts
                           └─ events ── ClickHouse

A record's value is `case,number,time`; `bad,...` is rejected and `skip,...` filtered.  A case counts its numbers, and is closed, by one
verdict, when the watermark has passed its last time.  Every batch that ingest folds is noted in a file, so that a test can tell what was
folded twice.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from aiokafka.consumer.subscription_state import SubscriptionState

from pipeline.errors import ErrorCode
from pipeline.model.facts import Fact
from pipeline.model.ids import rank
from pipeline.model.outcome import EventRow, Filtered, Observed, Outcome, Publish, Read, Record, Rejected, Tell
from pipeline.model.source import Source as Family
from pipeline.runtime import app as runtime
from pipeline.runtime.partition import Source
from pipeline.settings import Settings
from pipeline.sink.clickhouse import ClickHouseSink
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, Topology

CLUSTER = "main"
CLOSES_AFTER_MS = 5_000
FINAL = "trainwatch-final"


class Spec(msgspec.Struct, kw_only=True):
    """What a test asks of a worker."""

    settings: dict[str, object]
    topics: tuple[str, ...]
    folded: str  # file to which folded ranges are appended
    step: str = ""  # of the checkpoint at which to fault; or "looked": a partition that nobody ever claimed was read
    then: str = ""  # the next step at which to
    times: int = 1  # the n-th time that it is reached
    fault: str = "kill"  # kill | stop
    raises: bool = False  # the second stage, at a fact of the case "boom"
    idle_seconds: float = 0.0  # for so long the client says that it has not fetched, while it does not fetch; 0: for as long as it has not


class State:
    """Cases alone."""

    def __init__(self, cases: Cases) -> None:
        self.cases = cases


def build_state(settings: Settings, cases: Cases) -> State:
    """The state of both stages."""
    return State(cases)


def ingest_step(note: Callable[[Sequence[Record]], None]) -> Callable[..., tuple[State, list[Outcome]]]:
    """The first stage."""

    def step(state: State, batch: Sequence[Record], now: Watermarks) -> tuple[State, list[Outcome]]:
        outcomes: list[Outcome] = []
        latest = 0
        for record in batch:
            if any(name == FINAL for name, _ in record.headers):
                outcomes.append(Filtered(record.offset, ErrorCode.CONTROL))
                continue
            case, number, time = (record.value or b"").decode().split(",")
            if case == "bad":
                outcomes.append(Rejected(record.offset, ErrorCode.DECODE_ERROR, f"number {number}"))
            elif case == "skip":
                outcomes.append(Filtered(record.offset, ErrorCode.NOTHING_TO_KEEP))
            else:
                outcomes.append(event_row(record, case, int(time)))
                outcomes.append(Tell("counts", Fact(f"{CLUSTER}\x1f{case}".encode(), number, rank(int(time)), b"1")))
                latest = max(latest, int(time))
        if latest:
            outcomes.append(Observed(CLUSTER, Family.TRAINING, latest, ()))
        if batch:
            final = any(name == FINAL for record in batch for name, _ in record.headers)
            outcomes.append(Read(max(record.timestamp for record in batch), final))
            note(batch)
        return state, outcomes

    return step


def counts_step(*, raises: bool) -> Callable[..., tuple[State, list[Outcome]]]:
    """The second stage."""

    def step(state: State, batch: Sequence[Fact], now: Watermarks) -> tuple[State, list[Outcome]]:
        for fact in batch:
            if raises and fact.case.endswith(b"boom"):
                raise RuntimeError("boom")
            state.cases.merge(fact)
        return state, list(closed(state.cases, now))

    return step


def closed(cases: Cases, now: Watermarks) -> list[Publish]:
    """A verdict for every case that the watermark has passed and that was not closed with this count."""
    verdicts = []
    for case in sorted(case for case in cases if not case.startswith(b"\x00")):
        numbers = {name: value for name, value in cases.of(case).items() if name != "closed"}
        last = max(int.from_bytes(order, "big") for order, _ in numbers.values())
        if not now.passed(CLUSTER, Family.TRAINING, last + CLOSES_AFTER_MS):
            continue
        if cases.merge(Fact(case, "closed", rank(len(numbers)), b"")):
            name = case.decode().partition("\x1f")[2]
            verdicts.append(Publish("verdicts", case, f"{name}/{len(numbers)}", f"{name},{len(numbers)}".encode()))
    return verdicts


def event_row(record: Record, case: str, time: int) -> EventRow:
    """A row that depends on the record alone."""
    return EventRow(
        event_time=time, collected_time=0, kafka_time=record.timestamp, cluster=CLUSTER, source="training", kind="test", host="gpu-012",
        job=case, actor="u017", event_id=f"{record.topic}/{record.partition}/{record.offset}", sha256="", attrs={}, raw="", late=False,
        future=False, topic=record.topic, partition=record.partition, offset=record.offset, index=0,
    )  # fmt: skip


def topology(spec: Spec, prefix: str) -> Topology:
    """Two stages, pure but for the note."""

    def note(batch: Sequence[Record]) -> None:
        with Path(spec.folded).open("a", encoding="utf-8") as file:
            file.write(f"{batch[0].topic} {batch[0].partition} {batch[0].offset} {batch[-1].offset}\n")

    facts = f"{prefix}facts.count.v1"
    return Topology(
        (
            Stage("ingest", spec.topics, "records", build_state, ingest_step(note), tells=("counts",)),
            Stage("counts", (facts,), "facts", build_state, counts_step(raises=spec.raises), upstream=spec.topics),
        ),
        prefix,
    )


def main() -> int:
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    settings = Settings.model_validate(spec.settings)
    left = spec.times
    if spec.idle_seconds:
        idle = property(lambda client: 0.0 if client._fetch_count else spec.idle_seconds)
        SubscriptionState.fetcher_idle_time = idle  # hours in no time

    def reached(step: str) -> None:
        nonlocal left
        if step == spec.step:
            left -= 1
            if left == 0:
                spec.step, spec.then, left = spec.then, "", 1
                os.kill(os.getpid(), signal.SIGKILL if spec.fault == "kill" else signal.SIGSTOP)

    with ClickHouseSink(settings.clickhouse) as sink:
        app = runtime.build_app(settings, topology(spec, settings.kafka.topic_prefix), sink)
        app.worker.reached = reached
        began = app.worker._began

        async def looked(source: Source) -> bool:
            found = await began(source)
            reached("looked")
            return found

        app.worker._began = looked  # type: ignore[method-assign]
        code = runtime.run(app)
    if code:
        print(f"ended by: {runtime.explain(app.failure)}", file=sys.stderr)  # noqa: T201  for the test's log
    return code


if __name__ == "__main__":
    sys.exit(main())
