"""Two clusters that share a topic: their shippers tell them apart, and no line does."""

import gzip
from typing import Any

import msgspec
import orjson
import pytest

from pipeline.ingest.step import build_state, step
from pipeline.ingest.stored import Restored, StoredRecord, StoredRow
from pipeline.model.outcome import EventRow
from pipeline.settings import SourceSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import DAY, ms

LINE = "[2026-03-02T12:00:00.318] Time limit exhausted for JobId=7"
HEADER = tuple(SourceSettings(name=name, cluster=name, cluster_header="site") for name in ("east", "west"))
FIELD = tuple(SourceSettings(name=name, cluster=name, cluster_field="fields.site") for name in ("east", "west"))
RESOURCE = (SourceSettings(name="west", cluster="west", cluster_field="k8s.cluster.name"),)
HOSTS = (
    SourceSettings(name="east", cluster="east", hosts=r"\.east\."),
    SourceSettings(name="west", cluster="west", hosts=r"\.west\.", zone="Asia/Shanghai"),
)
PRINTED = '{"jobid":7,"cluster":"west","fields":{"site":"west"},"@start":"2026-03-02T12:00:00"}'


def rows(value: bytes, sources: tuple[SourceSettings, ...], topic: str = "logs.scheduler", **headers: str) -> list[EventRow]:
    """What ingest writes of one record."""
    named = [(name, text.encode()) for name, text in headers.items()]
    record = build.record(value, topic=topic, at=DAY, headers=named)
    outcomes = step(build_state(build.settings(sources=sources), Cases()), [record], NOTHING)[1]
    return [out for out in outcomes if isinstance(out, EventRow)]


def wrapped(line: str = LINE, **said: Any) -> bytes:
    return orjson.dumps({"message": line, "log": {"file": {"path": "/var/log/slurmctld.log"}}, **said})


def batch(resource: str, body: dict[str, Any]) -> bytes:
    """Of OpenTelemetry."""
    attributes = [{"key": "k8s.cluster.name", "value": {"stringValue": resource}}]
    record = {"body": body, "attributes": [{"key": "k8s.cluster.name", "value": {"stringValue": "east"}}]}
    return orjson.dumps({"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [{"logRecords": [record]}]}]})


SAID: dict[str, tuple[bytes, tuple[SourceSettings, ...], dict[str, str], str]] = {
    "a header": (LINE.encode(), HEADER, {"site": "west"}, "west"),
    "a header, beside an object": (wrapped(fields={"site": "east"}), HEADER, {"site": "west"}, "west"),
    "another cluster in the header": (LINE.encode(), HEADER, {"site": "south"}, "main"),
    "no header": (LINE.encode(), HEADER, {}, "main"),
    "a field": (wrapped(fields={"site": "west"}), FIELD, {}, "west"),
    "a field with a point in its name": (wrapped(**{"fields.site": "west"}), FIELD, {}, "west"),
    "a field in each of several objects": (wrapped(fields={"site": "west"}) + b"\n" + wrapped(), FIELD, {}, "west main"),
    "a field beside a number that JSON has not": (wrapped(fields={"site": "west"}).replace(b"{", b'{"loss":NaN,', 1), FIELD, {}, "west"),
    "a field of a compressed object": (gzip.compress(wrapped(fields={"site": "west"})), FIELD, {}, "west"),
    "a resource": (batch("west", {"stringValue": LINE}), RESOURCE, {}, "west"),
    "a host": (wrapped(host="ctl-001.west.example"), HOSTS, {}, "west"),
    "a host in a header": (LINE.encode(), HOSTS, {"host": "ctl-001.west.example"}, "west"),
    "no setting": (wrapped(fields={"site": "west"}), (), {"site": "west"}, "main"),
    # what a log's author can write
    "a field that is no text": (wrapped(fields={"site": ["west"]}), FIELD, {}, "main"),
    "a field within the line": (wrapped(PRINTED), FIELD, {}, "main"),
    "a job's record, which is no shipper's": (PRINTED.encode(), FIELD, {}, "main"),
    "an attribute of the log record": (batch("south", {"stringValue": LINE}), RESOURCE, {}, "main"),
    "a body that is an object": (
        batch("south", {"kvlistValue": {"values": [
            {"key": "message", "value": {"stringValue": LINE}}, {"key": "k8s.cluster.name", "value": {"stringValue": "west"}},
        ]}}), RESOURCE, {}, "main",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_only_what_stands_beside_a_line_chooses_its_cluster(name: str) -> None:
    """And only where the settings say so."""
    value, sources, headers, clusters = SAID[name]
    assert [row.cluster for row in rows(value, sources, **headers)] == clusters.split()


def test_the_header_knows_the_host_better_than_an_object() -> None:
    """Which may be what somebody sent to the system log."""
    (row,) = rows(wrapped(host="ctl-001.west.example"), HOSTS, host="ctl-001.east.example")
    assert row.cluster == "east"


@pytest.mark.parametrize("sources", [FIELD, HOSTS], ids=["field", "hosts"])
@pytest.mark.parametrize("file", ["/jobs/slurm-7.out", "/jobs/train.log"])
def test_a_printed_object_does_not_choose_the_cluster(sources: tuple[SourceSettings, ...], file: str) -> None:
    """The headers name the file of the line, so the value is the line."""
    lines = '{"message":"RuntimeError: CUDA error","fields":{"site":"west"},"host":"gpu-001.west.example"}'
    (row,) = rows(lines.encode(), sources, "logs.training", file=file, host="gpu-001.south.example")
    assert row.cluster == "main"


def test_equal_lines_of_two_clusters_are_two_events() -> None:
    """On hosts of the same name, too; each in the zone of its cluster."""
    found = [rows(wrapped(host=f"ctl-001.{name}.example"), HOSTS)[0] for name in ("east", "west")]
    assert [(row.cluster, row.host, row.job) for row in found] == [("east", "ctl-001", "7"), ("west", "ctl-001", "7")]
    assert len({row.event_id for row in found}) == 2
    assert found[0].event_time - found[1].event_time == 8 * 3_600_000


def test_a_line_that_is_refused_is_its_clusters() -> None:
    """Beside others of its record that are not."""
    value = wrapped("An ordinary sentence.", fields={"site": "west"}) + b"\n" + wrapped(fields={"site": "east"})
    assert [(row.source, row.cluster) for row in rows(value, FIELD)] == [("slurmctld", "east"), ("refused", "west")]


@pytest.mark.parametrize("sources", [HEADER, FIELD, HOSTS], ids=["header", "field", "hosts"])
def test_a_stored_row_keeps_its_cluster(sources: tuple[SourceSettings, ...]) -> None:
    """Neither headers nor fields are stored, nor the whole name of a host."""
    value = wrapped(fields={"site": "east"}, host="ctl-001.east.example")
    (then,) = rows(value, sources, site="east")
    row = StoredRow(
        event_id=then.event_id, source=then.source, kind=then.kind, host=then.host, program=then.program, file=then.file,
        file_offset=None, collected_time=None, payload=then.raw.encode(), cluster=then.cluster,
    )  # fmt: skip
    record = StoredRecord(topic=then.topic, partition=0, offset=0, timestamp=ms(DAY), value=value, rows=(row,))
    outcomes = Restored().step(build_state(build.settings(sources=sources), Cases()), [record], NOTHING)[1]
    (again,) = (out for out in outcomes if isinstance(out, EventRow))
    assert msgspec.structs.replace(again, collected_time=0) == msgspec.structs.replace(then, collected_time=0)
    assert again.cluster == "east"
