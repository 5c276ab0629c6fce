"""Records of which only rows are left: the same events, the same findings, whatever the records were."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.cli.backtest import Runs
from pipeline.ingest.step import build_state, step
from pipeline.ingest.stored import Restored, StoredRecord
from pipeline.model.outcome import EventRow, Record, Tell
from pipeline.runtime.history import records_of
from pipeline.runtime.local import LocalRuntime
from pipeline.settings import Settings
from pipeline.simulate import Scale, simulate
from pipeline.sink.rows import to_stored
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING

T0 = 1_772_449_500_000
SMALL = Scale(gpu_hosts=6, members=10, jobs_per_day=60.0, acts_per_kind=(1, 1))


def asked(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Rows of `events` in the order, and with the columns, in which ClickHouse gives them."""
    ordered = sorted(
        (row for row in rows if isinstance(row, EventRow)),
        key=lambda row: (row.kafka_time, row.topic, row.partition, row.offset, row.index),
    )
    return [
        (
            row.kafka_time, row.topic, row.partition, "i1", row.offset, row.event_id, row.source, row.kind,
            row.attrs.get("shipped_by") or row.host, row.program, row.file, row.file_offset, row.collected_time, to_stored(row.raw),
            row.cluster, row.attrs.get("by_syslog", ""),
        )
        for row in ordered
    ]  # fmt: skip


def record(value: bytes, topic: str = "logs.training", **headers: str) -> Record:
    named = tuple((name, text.encode()) for name, text in headers.items())
    return Record(topic=topic, partition=0, offset=0, timestamp=T0, value=value, headers=named)


def batch(*lines: str) -> bytes:
    """One record of several lines, as a batching shipper sends them."""
    return json.dumps(
        [{"message": line, "host": {"name": "gpu-012"}, "log": {"file": {"path": "/out/slurm-7.out"}}} for line in lines]
    ).encode()


AUDIT = "type=SYSCALL msg=audit(1772449500.000:7): arch=c000003e syscall=62 success=yes exit=0 a0=4f3 a1=9 pid=912 auid=5017 uid=0"
MEGATRON = (
    " iteration      100/  500000 | consumed samples:       102400 | elapsed time per iteration (ms): 1020.4 | learning rate: 1.500E-04 |"
    " global batch size:  1024 | lm loss: 2.345678E+00 | loss scale: 1.0 | grad norm: 0.123 | number of skipped iterations:   0 |"
    " number of nan iterations:   0 |"
)
KILL = "[2026-03-02T12:00:00.318] _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012"
ACCEPTED = "Mar  2 12:00:00 gpu-012 sshd[9]: Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2"
LAUNCHED = "2026-03-02T12:00:00Z gpu-012 slurmd[9]: launch task StepId=7.0 request from UID:5017 GID:5000 HOST:10.0.0.7 PORT:51234"
ERROR = "RuntimeError: CUDA error: unspecified launch failure"
RECORDS = {
    "a line with headers": record(AUDIT.encode(), "logs.access", host="gpu-012", source="auditd", collected=str(T0)),
    "a line of a job, placed in its file": record(
        ERROR.encode(), host="gpu-012", file="/out/slurm-7.out", offset="4096", collected=str(T0)
    ),
    "bytes that are no UTF-8": record(ERROR.encode() + b" \xff\xfe", file="/out/slurm-7.out", host="gpu-012", collected=str(T0)),
    "a system log whose shipper nobody names": record(ACCEPTED.encode(), "logs.access"),
    "a system log that came through a log host": record(LAUNCHED.encode(), "logs.scheduler", host="log-001"),
    "a system log of the shipper's own host": record(ACCEPTED.encode(), "logs.access", host="gpu-012"),
    "audit records by the system log": record(f"Mar  2 12:00:00 gpu-012 audispd[9]: {AUDIT}".encode(), "logs.access", host="log-001"),
    "audit records by the system log, apart": record(
        json.dumps({"message": AUDIT, "program": "audispd", "host": "gpu-012"}).encode(), "logs.access"
    ),
    "audit records by the system log, of root": record(
        json.dumps({"message": AUDIT, "program": "audispd", "host": "gpu-012", "_UID": "0"}).encode(), "logs.access"
    ),
    "a batch": record(batch(MEGATRON, ERROR)),
    "equal lines of a batch": record(batch(ERROR, ERROR, MEGATRON, ERROR)),
}


def outcomes(*records: Record) -> tuple[list[EventRow], list[Tell], Restored]:
    """Rows and facts of ingest."""
    restored = Restored()
    _, found = restored.step(build_state(Settings(), Cases()), records, NOTHING)
    return [each for each in found if isinstance(each, EventRow)], [each for each in found if isinstance(each, Tell)], restored


@pytest.mark.parametrize("name", RECORDS)
def test_a_stored_record_gives_the_same_rows_and_facts(name: str) -> None:
    """Ids, times, attributes and facts, byte for byte; the rows of one record are one record again."""
    _, found = step(build_state(Settings(), Cases()), [RECORDS[name]], NOTHING)
    rows = [each for each in found if isinstance(each, EventRow)]
    assert rows
    stored = list(records_of(asked(rows)))
    assert len(stored) == 1
    again, facts, restored = outcomes(*stored)
    assert [(row.event_id, row.event_time, row.kind, row.job, row.host, row.attrs, row.raw) for row in again] == [
        (row.event_id, row.event_time, row.kind, row.job, row.host, row.attrs, row.raw) for row in rows
    ]
    assert facts == [each for each in found if isinstance(each, Tell)]
    assert restored.otherwise == 0
    assert len({row.event_id for row in rows}) == len(rows)


def test_a_line_of_another_program_stays_refused() -> None:
    """Which program it was stands beside the line, and the rest of what stood there is not stored."""
    lines = [{"message": KILL, "program": program, "host": "ctl-001"} for program in ("slurmctld", "u017")]
    _, found = step(build_state(Settings(), Cases()), [record(json.dumps(lines).encode(), "logs.scheduler")], NOTHING)
    rows = [each for each in found if isinstance(each, EventRow)]
    assert [row.kind for row in rows] == ["kill_request", "unknown_format"]
    again, facts, restored = outcomes(*records_of(asked(rows)))
    assert [row.event_id for row in again] == [rows[0].event_id]
    assert facts == [each for each in found if isinstance(each, Tell)]
    assert restored.otherwise == 0


def test_a_line_that_is_read_otherwise_today_is_counted() -> None:
    """It keeps the id that it gets now: that of another kind of event would be a lie."""
    (row,) = asked(
        [
            each
            for each in step(build_state(Settings(), Cases()), [RECORDS["a line with headers"]], NOTHING)[1]
            if isinstance(each, EventRow)
        ]
    )
    changed = (*row[:7], "signal_sent", *row[8:])
    rows, _, restored = outcomes(*records_of([changed]))
    assert restored.otherwise == 1
    assert [each.kind for each in rows] == ["audit_record"]
    gone = (*row[:13], "words that no format knows", *row[14:])
    rows, _, restored = outcomes(*records_of([gone]))
    assert (rows, restored.otherwise) == ([], 1)


def test_a_record_that_was_never_stored_is_read_as_it_is() -> None:
    """A dead letter among stored records is refused again."""
    (stored,) = records_of(asked(outcomes(RECORDS["a line with headers"])[0]))
    assert isinstance(stored, StoredRecord)
    rows, _, _ = outcomes(stored, record(b"words that no format knows", "logs.access"))
    assert len(rows) == 1


def test_a_day_of_rows_gives_the_findings_and_verdicts_of_the_day() -> None:
    """What is told of gaps by dead letters goes in beside the rows, as it does from their topic."""
    week = simulate(3, 1.0, scale=SMALL)
    settings = Settings.model_validate(
        {key: value for key, value in week.settings.items() if key not in ("kafka", "clickhouse", "embedded")}
    )
    records = [
        Record(topic=each.topic, partition=0, offset=0, timestamp=each.timestamp, value=each.value, key=each.key, headers=each.headers)
        for each in week.records
    ]
    local = LocalRuntime(settings, keep_rows=True)
    for at in range(0, len(records), 2000):
        local.feed(records[at : at + 2000])
        local.checkpoint()
    then = local.finish()
    assert then.canonical_findings()
    refused = {(place, offset) for place, offset, _ in then.listed}
    numbers: dict[str, int] = {}
    letters = []
    for each in records:
        offset = numbers[each.topic] = numbers.get(each.topic, -1) + 1
        if (f"{each.topic}/0", offset) in refused:
            letters.append(each)
    runs = Runs([settings])
    history = sorted([*records_of(asked(then.rows)), *letters], key=lambda each: (each.timestamp, each.topic))
    for at in range(0, len(history), 2000):
        runs.feed(history[at : at + 2000])
    (now,) = runs.finish()
    assert now.canonical_findings() == then.canonical_findings()
    assert now.canonical_verdicts() == then.canonical_verdicts()
    assert runs.otherwise == 0
