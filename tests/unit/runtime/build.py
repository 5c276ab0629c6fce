"""One-line builders for tests of the runtime."""

from collections.abc import Sequence
from typing import Any

from pipeline.model.outcome import EventRow, Outcome, Record
from pipeline.runtime.partition import Partition, Source
from pipeline.runtime.state_log import LogReader
from pipeline.runtime.state_record import Owner
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage
from tests.integration.fault_worker import event_row

SETTINGS = Settings()
SOURCE = Source("logs.access", 0)
FACTS = Source("trainwatch.facts.job.v1", 0)
OWNER = Owner(1, 1, "n1")


class State:
    """Cases alone, and what the step was given."""

    def __init__(self, cases: Cases) -> None:
        self.cases = cases
        self.batches: list[Sequence[Any]] = []


def stage(answer: Any = (), *, takes: str = "records", tells: tuple[str, ...] = (), upstream: tuple[str, ...] = ()) -> Stage:
    """A stage whose step answers with outcomes, or calls `answer(state, batch)` for them."""

    def step(state: State, batch: Sequence[Any], now: Watermarks) -> tuple[State, list[Outcome]]:
        state.batches.append(batch)
        return state, list(answer(state, batch) if callable(answer) else answer)

    topic = SOURCE.topic if takes == "records" else FACTS.topic
    return Stage("test", (topic,), takes, lambda _, cases: State(cases), step, upstream=upstream, tells=tells)


def partition(made_of: Stage | None = None, *, read: LogReader | None = None, settings: Settings = SETTINGS, end: int = 1000) -> Partition:
    """A partition that was taken over, at offset 0 unless the log says otherwise."""
    made_of = made_of or stage()
    part = Partition(SOURCE if made_of.takes == "records" else FACTS, made_of, settings, OWNER, read)
    part.adopt(0, end, "life")
    return part


def records(*offsets: int, **fields: Any) -> list[Record]:
    """Records at offsets."""
    given: dict[str, Any] = {
        "topic": SOURCE.topic,
        "partition": SOURCE.partition,
        "timestamp": 5_000,
        "value": b"line",
        "key": b"key",
    } | fields
    return [Record(offset=offset, **given) for offset in offsets]


def row(offset: int) -> EventRow:
    """A row of the record at an offset."""
    return event_row(records(offset)[0], "case", 0)
