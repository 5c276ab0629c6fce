"""Ingest: each record ends as exactly one of written, filtered, rejected; the rest is a function of its bytes and the settings."""

import gzip
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.errors import ErrorCode
from pipeline.formats.payloads import sacct
from pipeline.ingest.step import FINAL_HEADER, build_state, collected_time, step
from pipeline.model.events import Event, JobRecord
from pipeline.model.outcome import EventRow, Filtered, Lost, Observed, Outcome, Read, Record, Rejected, Row, Tell
from pipeline.model.source import Source
from pipeline.model.told import Heard, buckets_in, decode_told
from pipeline.settings import IngestSettings, SourceSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING, Watermarks
from tests import build
from tests.build import BUCKET_MS, CLUSTER, COLLEAGUE, DAY, HOST, ms
from tests.scenario.lines import Line, Site, ship

SITE = Site()


def run(*records: Record, now: Watermarks = NOTHING, **settings: Any) -> list[Outcome]:
    """One batch of a new partition."""
    *outcomes, read = step(build_state(build.settings(**settings), Cases()), records, now)[1]
    assert isinstance(read, Read)
    return [out for out in outcomes if not isinstance(out, Lost)]


def rows(outcomes: Sequence[Outcome]) -> list[EventRow]:
    return [out for out in outcomes if isinstance(out, EventRow)]


def told(outcomes: Sequence[Outcome]) -> list[tuple[str, Event]]:
    found = [(out.stage, decode_told(out.fact.body)) for out in outcomes if isinstance(out, Tell)]
    return [(stage, body) for stage, body in found if isinstance(body, Event)]


def observed(outcomes: Sequence[Outcome]) -> list[Observed]:
    return [out for out in outcomes if isinstance(out, Observed)]


def shipped(lines: Sequence[Line]) -> list[Record]:
    return list(ship(lines))


def one(lines: Sequence[Line]) -> Record:
    return shipped(lines)[0]


KILL = shipped(SITE.kill(97))
START = one(SITE.start(0))


def test_a_line_that_its_shipper_cut_says_so_and_is_a_gap() -> None:
    """A command of sudo whose end is missing is no proof that nothing stood there."""
    value = {
        "@timestamp": "2026-03-02T12:00:00.318Z",
        "@metadata": {"beat": "filebeat"},
        "message": "Mar  2 12:00:00 login-1 sudo: u099 : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/env a",
        "log": {"file": {"path": "/var/log/auth.log"}, "offset": 512, "flags": ["truncated"]},
        "host": {"name": "login-1"},
    }
    record = Record(topic="logs.access", partition=0, offset=0, timestamp=1_772_452_800_318, value=orjson.dumps(value))
    outcomes = step(build_state(build.settings(), Cases()), [record], NOTHING)[1]
    (row,) = rows(outcomes)
    assert row.attrs["truncated"] == "by its shipper"
    assert [(out.source, out.host) for out in outcomes if isinstance(out, Lost)] == [(Source.SSHD, "login-1")]


# --- how a record ends --------------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[bytes | None, ErrorCode]] = {
    "tombstone": (None, ErrorCode.TOMBSTONE),
    "empty": (b"", ErrorCode.EMPTY),
    "blank": (b" \t\n", ErrorCode.EMPTY),
    "a wrapper with a blank line": (b'{"message":" "}', ErrorCode.EMPTY),
    "binary": (bytes(range(128, 256)), ErrorCode.UNKNOWN_FORMAT),
    "zeros": (b"\0" * 100, ErrorCode.UNKNOWN_FORMAT),
    "an unknown format": (b"An ordinary sentence.", ErrorCode.UNKNOWN_FORMAT),
    "five megabytes": (b"x" * 5_000_000, ErrorCode.RECORD_TOO_LARGE),
    "truncated JSON": (b'{"jobid":7,"state":"COMPL', ErrorCode.DECODE_ERROR),
    "truncated wrapper": (b'{"@timestamp":"2026-03-', ErrorCode.DECODE_ERROR),
    "NaN": (b'{"jobid":7,"elapsed":NaN}', ErrorCode.DECODE_ERROR),
    "a field of another type": (b'{"jobid":7,"username":[],"state":"COMPLETED"}', ErrorCode.SCHEMA_MISMATCH),
    "an absurd year": (b"[1026-03-02T00:01:38.000] sched: Running job scheduler", ErrorCode.TIMESTAMP_OUT_OF_RANGE),
    "a year to come": (b"[2027-03-02T00:01:38.000] sched: Running job scheduler", ErrorCode.TIMESTAMP_OUT_OF_RANGE),
    "nesting without end": (b"[" * 100_000, ErrorCode.UNKNOWN_FORMAT),
    "a wrapper nested without end": (b'{"message":' + b"[" * 100_000, ErrorCode.DECODE_ERROR),
}


@pytest.mark.parametrize(("value", "code"), BAD.values(), ids=BAD)
def test_bad_input_is_rejected_with_its_code(value: bytes | None, code: ErrorCode) -> None:
    """One outcome, and nothing else: no row, no fact, no mark."""
    (out,) = run(build.record(value, 41, topic="logs.scheduler", at=100))
    assert isinstance(out, Rejected)
    assert (out.offset, out.code) == (41, code)
    assert out.reason


def test_a_program_named_after_a_person_names_nobody() -> None:
    """Shippers take it from a tag, or from what a service is called."""
    headers = tuple((name, value) for name, value in KILL[0].headers if name != "source")
    named = msgspec.structs.replace(KILL[0], headers=(*headers, ("source", b"u012-train")))
    (row,) = rows(run(named, privacy={"pseudonyms": True, "key": "a key for tests alone"}))
    assert row.program.endswith("-train")
    assert "u012" not in row.program


def test_bad_records_do_not_disturb_their_neighbours() -> None:
    """The batch goes on."""
    bad = [msgspec.structs.replace(build.record(value, 0), offset=number) for number, (value, _) in enumerate(BAD.values(), 100)]
    outcomes = run(*bad[:8], msgspec.structs.replace(START, offset=7), *bad[8:])
    assert [row.offset for row in rows(outcomes)] == [7]
    assert len([out for out in outcomes if isinstance(out, Rejected)]) == len(bad)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (build.record(b"", 3, headers=[(FINAL_HEADER, b"1")]), ErrorCode.CONTROL),
        (build.record("|".join(sacct.COLUMNS), 3, topic="logs.scheduler"), ErrorCode.NOTHING_TO_KEEP),
    ],
    ids=["control", "header line"],
)
def test_what_holds_nothing_is_filtered(record: Record, code: ErrorCode) -> None:
    """Counted, not rejected."""
    assert run(record) == [Filtered(3, code)]


def test_a_line_of_another_family_is_none() -> None:
    """Who can print into a job's output must not become the controller by it."""
    line = one(SITE.cancel(98, command=False))
    assert rows(run(line))
    (out,) = run(msgspec.structs.replace(line, topic="logs.training"))
    assert isinstance(out, Rejected)
    assert out.code is ErrorCode.UNKNOWN_FORMAT


MIXED = [record.value for record in (START, *KILL, *shipped([*SITE.oom(50), *SITE.save(60), *SITE.rank_failed(70), *SITE.end(100)]))]


VALUES = st.sampled_from(MIXED + [value for value, _ in BAD.values()]) | st.binary(max_size=60)
ANY_TOPIC = st.sampled_from(["logs.training", "logs.scheduler", "logs.access"])


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(VALUES, ANY_TOPIC), max_size=12))
def test_every_offset_ends_in_exactly_one_way(values: list[tuple[bytes | None, str]]) -> None:
    """Written (once per event, numbered), filtered or rejected; none twice, none missing."""
    records = [build.record(value, 10 + number, topic=topic, at=DAY) for number, (value, topic) in enumerate(values)]
    ends: dict[int, list[str]] = {record.offset: [] for record in records}
    indices: dict[int, list[int]] = {}
    for out in run(*records):
        if isinstance(out, Row):
            indices.setdefault(out.offset, []).append(out.index)
        elif isinstance(out, (Filtered, Rejected)):
            ends[out.offset].append(type(out).__name__)
    for offset, numbers in indices.items():
        assert numbers == list(range(len(numbers)))
        ends[offset].append("Written")
    assert all(len(how) == 1 for how in ends.values())


@hypothesis_settings(deadline=None)
@given(data=st.data())
def test_whatever_the_bytes_it_answers(data: st.DataObject) -> None:
    """Valid values cut, doubled or with bytes exchanged: an outcome, never an exception, also from what is told."""
    value = bytearray(data.draw(st.sampled_from([value for value in MIXED if value])))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(value)))
        end = data.draw(st.integers(start, min(len(value), start + 9)))
        value[start:end] = data.draw(
            st.sampled_from([b"", b"9" * 20, b"-", b" ", b"\xff\xed\xa0\x80", b'"', b"{", b"\\ud800", b"\0", "٣".encode()])
        )
    outcomes = run(build.record(bytes(value), 1, topic=data.draw(ANY_TOPIC), at=DAY))
    assert any(isinstance(out, (Row, Filtered, Rejected)) for out in outcomes)
    for row in rows(outcomes):
        assert all(isinstance(text, str) for text in row.attrs.values())


# --- ids ----------------------------------------------------------------------------------------------------------------------------


def ids(*records: Record) -> list[str]:
    return [row.event_id for row in rows(run(*records))]


ALL = [START, *KILL, *shipped([*SITE.oom(50), *SITE.save(60), *SITE.rank_failed(70), *SITE.cancel(98), *SITE.end(100)])]


def test_ids_do_not_depend_on_topic_partition_offset_or_broker_time() -> None:
    """Another partitioning, another broker, another day: the same events."""
    moved = [
        msgspec.structs.replace(record, partition=5, offset=900 + number, timestamp=record.timestamp + 7)
        for number, record in enumerate(ALL)
    ]
    assert ids(*moved) == ids(*ALL)
    assert len(set(ids(*ALL))) == len(ALL)


def test_the_same_record_twice_is_one_event_and_two_rows() -> None:
    """Redelivery merges by id; the rows stay, and tell where each copy lay."""
    copies = [msgspec.structs.replace(START, offset=offset) for offset in (1, 2)]
    outcomes = run(*copies)
    first, second = rows(outcomes)
    assert (first.event_id, first.offset, second.event_id, second.offset) == (first.event_id, 1, first.event_id, 2)
    facts = [out.fact for out in outcomes if isinstance(out, Tell)]
    assert facts[: len(facts) // 2] == facts[len(facts) // 2 :]


def test_equal_lines_at_different_places_of_a_file_are_two_events() -> None:
    """Where the shipper tells the offset in the file."""
    lines = SITE.error(60), SITE.error(60)
    first, second = ids(*shipped([*lines[0], *lines[1]]))
    assert first != second


def test_what_the_scheduler_says_again_is_the_same_event() -> None:
    """jobcomp and sacct carry ids of their own: an overlapping export tells nothing new."""
    exports = [one(SITE.sacct(at)) for at in (3600, 7200)]
    assert len(set(ids(*exports))) == 1


def test_decoding_does_not_depend_on_what_came_before() -> None:
    """Caches only make it quick."""
    together = [row.event_id for row in rows(run(*ALL, *ALL))]
    assert together == [*ids(*ALL), *ids(*ALL)]
    assert [name for record in ALL for name in ids(record)] == ids(*ALL)


# --- time ---------------------------------------------------------------------------------------------------------------------------


def test_marks_are_told_per_family_with_the_buckets_that_were_heard() -> None:
    """Greatest event time of the batch, not the last."""
    outcomes = run(*shipped([*SITE.kill(97), *SITE.oom(700)]), one(SITE.kill(50)))
    kernel, auditd = ms(700), ms(97)
    bucket = ms(0) // BUCKET_MS * BUCKET_MS
    assert sorted(observed(outcomes), key=lambda each: each.source) == [
        Observed(CLUSTER, Source.AUDITD, auditd, (bucket,)),
        Observed(CLUSTER, Source.KERNEL, kernel, (bucket + BUCKET_MS,)),
    ]


@pytest.mark.parametrize(("ahead", "future"), [(0, False), (300, False), (300.001, True), (86_400, True)])
def test_a_time_ahead_of_its_collection_is_flagged_and_moves_no_mark(ahead: float, future: bool) -> None:
    """One wrong clock must not close everybody's windows: the event is kept and told, but it is no proof of anything."""
    line = SITE.oom(ahead)[0]
    record = one([line._replace(at=-2)])
    outcomes = run(record)
    (row,) = rows(outcomes)
    heard = [out for out in outcomes if isinstance(out, Tell) and isinstance(decode_told(out.fact.body), Heard)]
    assert (row.future, bool(observed(outcomes)), bool(heard)) == (future, not future, not future)
    assert told(outcomes)


@pytest.mark.parametrize(("ahead", "flagged", "rejected"), [(0, 0, 0), (300, 0, 0), (301, 1, 0), (86_401, 0, 1)])
def test_a_host_whose_shipper_shares_its_wrong_clock_moves_no_mark(ahead: float, flagged: int, rejected: int) -> None:
    """Line and collection agree and are both ahead of the broker: a year ahead would close every window for ever."""
    record = msgspec.structs.replace(one(SITE.oom(1000 + ahead)), timestamp=ms(1000))
    bare = msgspec.structs.replace(one(SITE.error(1000 - 2 + ahead)), timestamp=ms(1000))
    for each in (record, bare):
        outcomes = run(each)
        assert len([row for row in rows(outcomes) if row.future]) == flagged
        assert len([out for out in outcomes if isinstance(out, Rejected)]) == rejected
        assert bool(observed(outcomes)) == (not flagged and not rejected)


def test_old_logs_are_not_ahead_of_their_replay() -> None:
    """The broker saw them years later."""
    outcomes = run(msgspec.structs.replace(one(SITE.oom(50)), timestamp=ms(900 * DAY)))
    assert [row.future for row in rows(outcomes)] == [False]
    assert [each.event_time for each in observed(outcomes)] == [ms(50)]


def test_beyond_the_second_limit_it_is_rejected() -> None:
    """A day ahead is no clock any more."""
    (out,) = run(one([SITE.oom(86_400.001)[0]._replace(at=-2)]))
    assert isinstance(out, Rejected)
    assert out.code is ErrorCode.TIMESTAMP_OUT_OF_RANGE


@pytest.mark.parametrize(("behind", "late"), [(0, False), (120, False), (120.001, True)])
def test_what_lies_behind_the_mark_by_more_than_grace_is_late(behind: float, late: bool) -> None:
    """Written and told all the same."""
    mark = Watermarks({(CLUSTER, Source.KERNEL): (ms(50 + behind), ms(50 + behind))}, {}, BUCKET_MS)
    outcomes = run(*shipped(SITE.oom(50)), now=mark)
    assert [row.late for row in rows(outcomes)] == [late]
    assert told(outcomes)


def test_a_line_without_clock_takes_its_collection() -> None:
    """The shipper's time, else the broker's."""
    record = one(SITE.error(60))
    bare = msgspec.structs.replace(record, headers=(("file", b"/runs/slurm-7.out"),), timestamp=ms(70))
    assert [row.event_time for row in rows(run(record, bare))] == [ms(62), ms(70)]
    assert [row.collected_time for row in rows(run(record, bare))] == [ms(62), 0]


@pytest.mark.parametrize(("zone", "shift"), [("UTC", 0), ("Asia/Shanghai", -8 * 3600), ("Europe/Berlin", -3600)])
def test_times_without_offset_are_read_in_the_zone_of_their_source(zone: str, shift: int) -> None:
    """slurmctld.log is local time."""
    sources = (SourceSettings(name="controller", program="slurmctld", zone=zone),)
    (row,) = rows(run(one(SITE.time_limit(98)), sources=sources))
    assert row.event_time == ms(98 + shift)


def test_a_wrong_zone_is_seen_as_a_time_ahead() -> None:
    """Eight hours ahead of its collection: flagged, and no window closes by it."""
    sources = (SourceSettings(name="controller", program="slurmctld", zone="America/Los_Angeles"),)
    outcomes = run(one(SITE.time_limit(98)), sources=sources)
    assert [row.future for row in rows(outcomes)] == [True]
    assert observed(outcomes) == []


# --- what it concerns ---------------------------------------------------------------------------------------------------------------

ROUTES: dict[str, tuple[list[Line], dict[str, set[str]]]] = {
    "a job's record: its job, each of its hosts, its owner": (
        SITE.start(0, nodes="gpu-[001-003]"), {"jobs": {"7"}, "hosts": {"gpu-001", "gpu-002", "gpu-003"}, "identities": {"u012"}},
    ),
    "a cancel request: the job, and who asked": (SITE.cancel(98, command=False), {"jobs": {"7"}, "identities": {"u099"}}),
    "a node's state: the node": (SITE.node_down(90, "gpu-005"), {"hosts": {"gpu-005"}}),
    "a failed rank: the job of the file": (SITE.rank_failed(98, job="12"), {"jobs": {"12"}}),
    "a rank's start: job and host": (SITE.rank(1), {"jobs": {"7"}, "hosts": {HOST}}),
    "a save: the artefact, and its run's folder": (SITE.save(60), {"artefacts": {build.PATH, "/ckpt/u012/"}}),
    "a load: the artefact, and its run's folder": (SITE.load(60), {"artefacts": {build.PATH, "/ckpt/u012/"}}),
    "a load of what belongs to no run: the artefact": (SITE.load(60, path="/ckpt/shard-000.npz"), {"artefacts": {"/ckpt/shard-000.npz"}}),
    "an error of the program: the job": (SITE.error(60), {"jobs": {"7"}}),
    "a kill: the host": (SITE.kill(97), {"hosts": {HOST}}),
    "out of memory: the host": (SITE.oom(50), {"hosts": {HOST}}),
    "an audit record of no interest: nobody": (SITE.hum(0, ["auditd"]), {}),
    "an ordinary kernel line: nobody": (SITE.hum(0, ["kernel"]), {}),
    "the controller about itself: nobody": (SITE.hum(0, ["slurmctld"]), {}),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), ROUTES.values(), ids=ROUTES)
def test_facts_go_to_those_concerned(lines: list[Line], expected: dict[str, set[str]]) -> None:
    """One fact per event and subject; what concerns nobody is a row and coverage only."""
    found: dict[str, set[str]] = {}
    for out in run(*shipped(lines)):
        if isinstance(out, Tell) and isinstance(decode_told(out.fact.body), Event):
            found.setdefault(out.stage, set()).add(out.fact.case.decode().partition("\x1f")[2])
    assert found == expected


def test_a_per_host_source_that_was_heard_is_told_once_per_host_and_day() -> None:
    """By any of its lines, also those that concern nobody."""
    lines = [line for at in (0, 10, 599, 600) for line in SITE.hum(at, ["kernel", "slurmctld"], ["gpu-001", "gpu-002"])]
    outcomes = run(*shipped(lines))
    facts = [(out.fact.case.decode().partition("\x1f")[2], decode_told(out.fact.body)) for out in outcomes if isinstance(out, Tell)]
    found = [(host, told.source, [*buckets_in(told)]) for host, told in facts if isinstance(told, Heard)]
    assert sorted(found) == [(host, Source.KERNEL, [ms(0), ms(0) + BUCKET_MS]) for host in ("gpu-001", "gpu-002")]


def test_series_are_folded() -> None:
    """Of the errors of a minute the first, of the steps of an hour the last: one fact each, in any order."""
    errors = [one(SITE.error(at)) for at in (-2, 10, 30, 60)]
    steps = [
        build.record(
            f" iteration {number:8d}/ 1000 | consumed samples: 1 | elapsed time per iteration (ms): 5.0 | lm loss: 1.0E+00 |",
            at=number * 60, headers=(("file", b"/runs/slurm-7.out"),),
        )
        for number in range(1, 70, 20)
    ]  # fmt: skip
    for order in ([*errors, *steps], [*reversed(steps), *reversed(errors)]):
        cases = Cases(out.fact for out in run(*order) if isinstance(out, Tell))
        kept = sorted(
            event.event_time
            for event in (decode_told(fact.body) for fact in cases.facts() if fact.id.count("/") == 1)
            if isinstance(event, Event)
        )
        assert kept == [ms(0), ms(62), ms(41 * 60), ms(61 * 60)]


def test_who_acted_is_resolved_as_valid_at_event_time() -> None:
    """By the login uid; the row carries the identity."""
    identities = (
        {"id": "u050", "uid": COLLEAGUE, "valid_to": "2026-03-02T00:01:00Z"},
        {"id": "u051", "uid": COLLEAGUE, "valid_from": "2026-03-02T00:01:00Z"},
    )
    records = shipped([*SITE.kill(59, uid=0)[:1], *SITE.kill(60)[:1]])
    assert [row.actor for row in rows(run(*records, identities=identities))] == ["u050", "u051"]


# --- settings -----------------------------------------------------------------------------------------------------------------------


def test_the_first_source_that_fits_decides() -> None:
    """Cluster, host and job come from the settings where the line does not say."""
    sources = (
        SourceSettings(name="other topic", topic="logs.access", cluster="wrong"),
        SourceSettings(name="runs", file=r"^/runs/", cluster="two", job_pattern=r"slurm-(?P<job>\d+)"),
        SourceSettings(name="all", cluster="three"),
    )
    row, other = rows(run(one(SITE.error(60, job="12")), START, sources=sources))
    assert (row.cluster, row.job, other.cluster) == ("two", "12", "three")


def test_the_bound_of_a_record_is_a_setting() -> None:
    """Reaching it is a counted outcome."""
    (out,) = run(build.record(b"x" * 1025), ingest=IngestSettings(record_bytes_max=1024))
    assert isinstance(out, Rejected)
    assert out.code is ErrorCode.RECORD_TOO_LARGE


@pytest.mark.parametrize("host", ["gpu-001", "gpu-001.cluster.example"])
def test_a_host_has_one_name(host: str) -> None:
    """The short one: the scheduler knows no other."""
    record = one(SITE.error(60))
    headers = tuple((name, host.encode() if name == "host" else data) for name, data in record.headers)
    assert [row.host for row in rows(run(msgspec.structs.replace(record, headers=headers)))] == ["gpu-001"]


def test_an_envelope_does_not_change_the_event() -> None:
    """The same line raw or in a wrapper: the same kind, time and content."""
    record = one(SITE.time_limit(98))
    wrapped = orjson.dumps({"message": (record.value or b"").decode(), "host": "ctl-001", "file": "/var/log/slurmctld.log"})
    raw, opened = rows(run(record, msgspec.structs.replace(record, value=wrapped, headers=())))
    assert (raw.kind, raw.event_time, raw.attrs, raw.sha256) == (opened.kind, opened.event_time, opened.attrs, opened.sha256)


def test_a_row_carries_what_the_accounting_needs() -> None:
    """Where the record lay, when it happened, was collected and arrived, and the line itself."""
    (row,) = rows(run(msgspec.structs.replace(one(SITE.time_limit(98)), partition=3, offset=17, timestamp=ms(105))))
    assert (row.topic, row.partition, row.offset, row.index) == ("logs.scheduler", 3, 17, 0)
    assert (row.event_time, row.collected_time, row.kafka_time) == (ms(98), ms(100), ms(105))
    assert (row.cluster, row.source, row.kind, row.host, row.job) == ("main", "slurmctld", "controller_job", "ctl-001", "7")
    assert row.raw.endswith("Time limit exhausted for JobId=7")


def test_an_event_is_told_with_the_hash_of_its_line() -> None:
    """What evidence cites is what ClickHouse holds."""
    outcomes = run(START)
    (row,) = rows(outcomes)
    assert {(event.id, event.sha256) for _, event in told(outcomes)} == {(row.event_id, row.sha256)}
    assert all(isinstance(event.body, JobRecord) for _, event in told(outcomes))


@pytest.mark.parametrize(
    ("headers", "stamped", "collected"),
    [
        ({"collected": b"4000"}, 5_000, 4_000),
        ({"collected": b"77000"}, 5_000, 5_000),
        ({"collected": b"77000"}, -1, 77_000),
        ({"collected": b"soon"}, 5_000, 5_000),
        ({}, 5_000, 5_000),
        ({}, -1, 0),
    ],
    ids=["the shipper's word", "not ahead of the record's own time", "no time of its own", "no number", "the record's time", "no time"],
)
def test_a_record_was_collected_when_its_shipper_says(headers: dict[str, bytes], stamped: int, collected: int) -> None:
    """As far as the record's own time bears it out, else at that time."""
    assert collected_time(stamped, headers) == collected


def test_a_batch_says_how_far_it_was_read() -> None:
    """The greatest time of collection, of records that cannot be read too, and whether the channel ends."""
    state = build_state(build.settings(), Cases())
    broken, control = build.record(b"no line of ours", 1, at=50), build.record(b"", 2, at=40, headers=[(FINAL_HEADER, b"1")])
    assert step(state, [broken], NOTHING)[1][-1] == Read(broken.timestamp, False)
    assert step(state, [broken, control], NOTHING)[1][-1] == Read(broken.timestamp, True)


@pytest.mark.parametrize(
    ("value", "topic", "wanted"),
    [
        (b"type=SYSCALL msg=audit(1772480441): arch=c000003e", "logs.access", [("auditd", "gpu-001")]),
        (b'{"jobid":7,"state":17}', "logs.scheduler", [("slurm_jobcomp", "")]),
        (b'{"trainwatch_probe":1,"kind":"nothing"}', "logs.training", []),
        (b"no line of ours", "logs.access", []),
    ],
    ids=["a host's", "the cluster's", "a job's own output", "unknown"],
)
def test_a_line_that_its_own_format_cannot_read_is_a_gap(value: bytes, topic: str, wanted: list[tuple[str, str]]) -> None:
    """Something was said then that nobody can know; but no job blinds anybody by what it prints."""
    record = build.record(value, topic=topic, at=3000, headers=[("host", b"gpu-001")])
    found = [out for out in step(build_state(build.settings(), Cases()), [record], NOTHING)[1] if isinstance(out, Lost)]
    assert [(out.source.value, out.host) for out in found] == wanted
    for out in found:
        assert out.buckets[0] <= ms(3000 - 120) < out.buckets[1]
        assert out.buckets[-1] <= ms(3000) < out.buckets[-1] + out.buckets[1] - out.buckets[0]


_RECORD = b"type=EXECVE msg=audit(1772480441.318:78): argc=1 a0="
_REQUEST = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"ResponseComplete","verb":"delete","responseObject":"%s"}'
_JOB = b'{"jobid":7,"username":"u017","state":"COMPLETED","script":"%s"}'
_PADDING = b"x" * 2_000_000
TOO_LARGE: dict[str, tuple[bytes, str, list[tuple[str, str]]]] = {
    "arguments": (_RECORD + _PADDING, "logs.access", [("auditd", "gpu-001")]),
    "a request with its response": (_REQUEST % _PADDING, "logs.access", [("kubernetes_audit", "")]),
    "a batch of requests": (b'{"kind":"EventList","items":[' + _REQUEST % _PADDING + b"]}", "logs.access", [("kubernetes_audit", "")]),
    "a job with its script": (_JOB % _PADDING, "logs.scheduler", [("slurm_jobcomp", "")]),
    "inflated": (gzip.compress(_REQUEST % _PADDING), "logs.access", [("kubernetes_audit", "")]),
    "in a shipper's object": (
        orjson.dumps({"message": (_RECORD + _PADDING).decode(), "host": "gpu-002", "file": "/var/log/audit/audit.log"}),
        "logs.access",
        [("auditd", "gpu-002")],
    ),
    "in an object, in another's name": (
        orjson.dumps({"message": (_RECORD + _PADDING).decode(), "host": "gpu-002", "program": "logger"}),
        "logs.access",
        [],
    ),
    "a batch of OpenTelemetry": (
        orjson.dumps(
            {
                "resourceLogs": [
                    {"scopeLogs": [{"logRecords": [{"body": {"stringValue": text}} for text in (_PADDING.decode(), _RECORD.decode())]}]}
                ]
            }
        ),
        "logs.access",
        [("auditd", "gpu-001")],
    ),
    "a job's output": (b'{"trainwatch_probe":1,"kind":"' + _PADDING, "logs.training", []),
    "through the system log": (b"Mar  3 03:40:41 gpu-001 audit[1]: " + _RECORD + _PADDING, "logs.access", []),
    "of a program of the system log": (b"Mar  3 03:40:41 gpu-001 sudo[9]: u017 : COMMAND=" + _PADDING, "logs.access", []),
    "nobody's": (_PADDING, "logs.access", []),
}


@pytest.mark.parametrize(("value", "topic", "wanted"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_record_that_is_too_large_is_a_gap_of_whose_it_is(value: bytes, topic: str, wanted: list[tuple[str, str]]) -> None:
    """Scripts, responses and arguments are as long as somebody makes them: what hides behind one was said all the same."""
    record = build.record(value, topic=topic, at=3000, headers=[("host", b"gpu-001")])
    outcomes = step(build_state(build.settings(), Cases()), [record], NOTHING)[1]
    assert [out.code for out in outcomes if isinstance(out, Rejected)] == [ErrorCode.RECORD_TOO_LARGE]
    assert [(out.source.value, out.host) for out in outcomes if isinstance(out, Lost)] == wanted


@pytest.mark.parametrize(
    "value",
    [
        b"Mar  3 03:40:41 gpu-001 audit[1]: type=SYSCALL msg=audit(junk): x",
        b'{"@timestamp":"2026-03-02T19:40:41Z","host":"gpu-001","program":"audit","message":"type=SYSCALL msg=audit(junk): x"}',
    ],
)
def test_nobody_makes_a_gap_through_the_system_log(value: bytes) -> None:
    """`logger -t audit` is open to every user, who could have his name withheld by it; the line is a dead letter all the same."""
    outcomes = step(build_state(build.settings(), Cases()), [build.record(value, topic="logs.access", at=3000)], NOTHING)[1]
    assert [out for out in outcomes if isinstance(out, Lost)] == []
    assert [out for out in outcomes if isinstance(out, Rejected)]
