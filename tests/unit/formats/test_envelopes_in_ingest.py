"""A record of many lines on its way through ingest: numbered rows, ids of their own, and one bad line that costs itself alone."""

import contextlib
import gzip
import time
from typing import Any

import orjson
import pytest

from pipeline.errors import ErrorCode, RejectedRecord
from pipeline.formats import registry
from pipeline.ingest.step import build_state, step
from pipeline.model.outcome import EventRow, Filtered, Outcome, Read, Rejected, Tell
from pipeline.settings import SourceSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import DAY

LOSS = '{{"step":{},"loss":2.5}}'
SAVED = "  successfully saved checkpoint at iteration   {} to /ckpt/u012"
OUTPUT = "/jobs/slurm-7.out"


def run(value: bytes, topic: str = "logs.training", headers: Any = (), **changes: Any) -> list[Outcome]:
    """One record of a new partition."""
    record = build.record(value, 41, topic=topic, at=DAY, headers=headers)
    *outcomes, read = step(build_state(build.settings(**changes), Cases()), [record], NOTHING)[1]
    assert isinstance(read, Read)
    return outcomes


def rows(outcomes: list[Outcome]) -> list[EventRow]:
    return [out for out in outcomes if isinstance(out, EventRow)]


def array(*lines: str, **said: Any) -> bytes:
    return orjson.dumps([{"message": line, **said} for line in lines])


def test_rows_are_numbered_over_all_lines() -> None:
    """The number of an event in its record, whatever line it was in."""
    found = rows(run(array(*(SAVED.format(number) for number in range(5)))))
    assert [(row.offset, row.index) for row in found] == [(41, number) for number in range(5)]
    assert len({row.event_id for row in found}) == 5
    assert [row.raw for row in found] == [SAVED.format(number) for number in range(5)]


def test_equal_lines_of_one_record_are_two_events() -> None:
    """And the first of them is the event that it would be in a record of its own; a replay gives the same."""
    value = array(SAVED.format(1), SAVED.format(1), SAVED.format(1), **{"@timestamp": "2026-03-02T12:00:00Z"})
    first, second, third = rows(run(value))
    assert len({first.event_id, second.event_id, third.event_id}) == 3
    alone = rows(run(orjson.dumps({"message": SAVED.format(1), "@timestamp": "2026-03-02T12:00:00Z"})))
    assert [row.event_id for row in alone] == [first.event_id]
    assert [row.event_id for row in rows(run(value))] == [first.event_id, second.event_id, third.event_id]


def test_an_event_with_an_id_of_its_own_that_comes_twice_is_one() -> None:
    """The source says that it is the same."""
    audit = orjson.dumps({
        "auditID": "a", "stage": "ResponseComplete", "verb": "delete", "stageTimestamp": "2026-03-02T12:00:00Z",
    })  # fmt: skip
    value = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[' + audit + b"," + audit + b"]}"
    first, second = rows(run(value, "logs.access"))
    assert first.event_id == second.event_id
    assert (first.kind, first.index, second.index) == ("kubernetes_request", 0, 1)


def test_one_bad_line_costs_itself_alone() -> None:
    """It is a row that says which and why, behind the others; no stage hears of it."""
    outcomes = run(array(SAVED.format(1), "An ordinary sentence.", SAVED.format(2), ""))
    found = rows(outcomes)
    assert [row.index for row in found] == [0, 1, 2, 3]
    assert [(row.source, row.kind, row.attrs["item"]) for row in found[2:]] == [
        ("refused", ErrorCode.UNKNOWN_FORMAT, "1"),
        ("refused", ErrorCode.EMPTY, "3"),
    ]
    assert found[2].raw == "An ordinary sentence."
    assert not [out for out in outcomes if isinstance(out, (Rejected, Filtered))]
    assert not [out for out in outcomes if isinstance(out, Tell) and b"ordinary" in out.fact.body]


def test_a_record_of_bad_lines_is_a_dead_letter() -> None:
    """Which names its items."""
    (out,) = run(array("An ordinary sentence.", "Another."))
    assert isinstance(out, Rejected)
    assert (out.offset, out.code) == (41, ErrorCode.UNKNOWN_FORMAT)
    assert "2 of 2 items" in out.reason
    assert "item 0:" in out.reason
    assert "item 1:" in out.reason


def test_a_batch_that_holds_nothing_is_filtered() -> None:
    """Counted, not rejected."""
    assert run(b'{"resourceLogs":[]}') == [Filtered(41, ErrorCode.NOTHING_TO_KEEP)]


def test_a_batch_without_end_is_a_dead_letter() -> None:
    """With its code."""
    (out,) = run(b"[" + b",".join([b"{}"] * 10_001) + b"]")
    assert isinstance(out, Rejected)
    assert out.code is ErrorCode.RECORD_TOO_LARGE


def test_a_line_that_was_inflated_has_the_bound_of_a_record() -> None:
    """Compression is no way round it."""
    (out,) = run(gzip.compress(b"x" * 2_000_000))
    assert isinstance(out, Rejected)
    assert out.code is ErrorCode.RECORD_TOO_LARGE


def test_a_part_of_a_line_says_so() -> None:
    """The row of a split line is not taken for a whole one."""
    (row,) = rows(run(f"2026-03-02T12:00:00Z stdout P {SAVED.format(1)}".encode()))
    assert row.attrs["part"] == "open"


FORGED: dict[str, bytes] = {
    "a wrapper": orjson.dumps({"message": LOSS.format(1), "file": "/jobs/slurm-8.out", "host": "gpu-002"}),
    "an array": orjson.dumps([{"message": LOSS.format(number), "file": "/jobs/slurm-8.out", "host": "gpu-002"} for number in (1, 2)]),
    "a batch of OpenTelemetry": orjson.dumps({
        "resourceLogs": [{
            "resource": {"attributes": [{"key": "log.file.path", "value": {"stringValue": "/jobs/slurm-8.out"}}]},
            "scopeLogs": [{"logRecords": [{"body": {"stringValue": LOSS.format(1)}}]}],
        }]
    }),
    "compressed": gzip.compress(orjson.dumps({"message": LOSS.format(1), "file": "/jobs/slurm-8.out", "host": "gpu-002"})),
    "CloudWatch": orjson.dumps({
        "messageType": "DATA_MESSAGE", "logGroup": "/jobs", "logStream": "slurm-8.out", "logEvents": [{"message": LOSS.format(1)}],
    }),
}  # fmt: skip


@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
def test_a_job_cannot_speak_for_another_in_any_envelope(value: bytes) -> None:
    """What it prints may look like a shipper's word; the shipper's own stands in the headers."""
    source = SourceSettings(name="output", file="/jobs/", job_pattern=r"slurm-(?P<job>\d+)\.out")
    headers = [("file", OUTPUT.encode()), ("host", b"gpu-001")]
    found = rows(run(value, headers=headers, sources=(source,)))
    assert found
    assert {(row.job, row.host) for row in found} == {("7", "gpu-001")}


DOUBLED: dict[str, tuple[bytes, bytes, bytes]] = {
    "array": (b"[", b'{"message":"x"},', b'{"message":"x"}]'),
    "lines": (b"", b'{"message":"x"}\n', b'{"message":"x"}'),
    "list": (b'{"kind":"EventList","items":[', b"{},", b"{}]}"),
    "wrapper": (b'{"message":"', b"\\n", b'"}'),
    "keys": (b"{", b'"message":"x",', b'"message":"x"}'),
    "frames": (b"", b"7 <34>abc", b""),
    "binary": (b"", b"\n\x00", b""),
    "brackets": (b"[", b" ", b"{"),
    "line feeds": (b"{", b"\n", b"{"),
}


@pytest.mark.parametrize(("start", "piece", "end"), DOUBLED.values(), ids=DOUBLED)
def test_linear_time(start: bytes, piece: bytes, end: bytes) -> None:
    """Four times the value takes about four times as long, not sixteen times."""

    def spent(pieces: int) -> float:
        value, best = start + piece * pieces + end, float("inf")
        for _ in range(3):
            before = time.process_time()
            with contextlib.suppress(RejectedRecord):
                registry.unwrap(value, ())
            best = min(best, time.process_time() - before)
        return best

    assert spent(8000) < 12 * spent(2000) + 0.01
