"""What `trainwatch check` makes of answers, without a server: each thing that would hurt is told, with what to do."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.runtime import soundness
from pipeline.runtime.accounts import WORKER, on_kafka
from pipeline.runtime.admin import Topic, plan
from pipeline.runtime.soundness import Found, Group, Line, Mark
from pipeline.settings import ClickHouseSettings, Settings, others_may
from pipeline.topology import build_topology

SETTINGS = Settings()
PLAN = plan(SETTINGS.kafka, build_topology(SETTINGS), {})
INPUT, FACTS, PUBLIC, STATE = (next(topic for topic in PLAN if topic.role == role) for role in ("input", "facts", "public", "state"))
ALL = frozenset({"READ", "WRITE", "DESCRIBE"})
NEEDED = on_kafka(WORKER, SETTINGS, build_topology(SETTINGS)).topics
READ = frozenset({"READ"})
AS_WORKER = ("worker", "writer", "add rows")
NOW = 1_772_451_641_000
DAY_MS = 86_400_000
ALTER = "kafka-configs.sh --bootstrap-server k1:9093 --alter --entity-type topics --entity-name"


def found(topic: Topic, **changes: Any) -> Found:
    """As it should be, but for the changes."""
    whole = Found(partitions=topic.partitions, replicas=3, config={"max.message.bytes": "1048588", **topic.config}, rights=ALL)
    return msgspec.structs.replace(whole, **changes)


def status(mode: int, owner: int | None = None) -> os.stat_result:
    """Of a file, ours unless another owner is named."""
    return os.stat_result((0o100000 | mode, 0, 0, 1, os.getuid() if owner is None else owner, 0, 0, 0, 0, 0))


def judged(topic: Topic, there: Found | None, workers: int = 0) -> Line:
    [line] = soundness.topics([topic], {} if there is None else {topic.name: there}, workers, NEEDED, "k1:9093")
    return line


def with_config(topic: Topic, **changes: str) -> Found:
    whole = found(topic)
    return msgspec.structs.replace(whole, config={**whole.config, **{name.replace("_", "."): value for name, value in changes.items()}})


def ahead(milliseconds: int, stamps: str = "CreateTime") -> Found:
    """An input whose times may lie so far ahead."""
    return with_config(INPUT, message_timestamp_type=stamps, message_timestamp_after_max_ms=str(milliseconds))


def around(milliseconds: int, **changes: str) -> Found:
    """One on a broker that knows a bound both ways, as all did before 3.6."""
    return with_config(INPUT, message_timestamp_type="CreateTime", message_timestamp_difference_max_ms=str(milliseconds), **changes)


@pytest.mark.parametrize(
    ("pattern", "mark"),
    [
        (r"^(?:.*/)*slurm-\d+\.out$", Mark.WARN),
        (r"(a+)+$", Mark.WARN),
        (r"((?:x|y*)z?){2,}", Mark.WARN),
        (r"^(?:gpu|cpu)-\d+$", None),
        (r"^/lustre/[^/]+/.*\.out$", None),
        (r"(?:-[0-9]{1,3}){1,4}", None),
    ],
)
def test_a_pattern_that_a_file_name_can_be_made_for_is_told(pattern: str, mark: Mark | None) -> None:
    """Whoever chooses where his job prints chooses the name, and a repeat within a repeat takes twice as long with each letter."""
    settings = Settings.model_validate({"sources": [{"name": "a", "file": pattern}, {"name": "b", "hosts": pattern}]})
    lines = [*soundness.patterns(settings)]
    assert [(line.what, line.mark) for line in lines] == ([("source a file", mark), ("source b hosts", mark)] if mark else [])


def test_a_site_as_it_should_be_is_all_ok() -> None:
    """Every topic of the plan."""
    lines = soundness.topics(PLAN, {topic.name: found(topic) for topic in PLAN}, workers=1, needed=NEEDED, address="k1:9093")
    assert [line.mark for line in lines] == [Mark.OK for topic in PLAN if topic.role != "labels"]  # which no worker reads


@pytest.mark.parametrize(
    ("line", "mark", "word"),
    [
        (judged(INPUT, None), Mark.FAIL, "topics create"),
        (judged(STATE, found(STATE, partitions=STATE.partitions * 2)), Mark.FAIL, "partition-growth"),
        (judged(INPUT, found(INPUT, rights=frozenset({"DESCRIBE"}))), Mark.FAIL, "READ"),
        (judged(FACTS, found(FACTS, rights=frozenset({"READ", "DESCRIBE"}))), Mark.FAIL, "WRITE"),
        (judged(FACTS, found(FACTS, rights=None)), Mark.OK, ""),
        (judged(FACTS, found(FACTS, leaderless=frozenset({1}))), Mark.FAIL, "without a leader: 1"),
        (judged(STATE, with_config(STATE, cleanup_policy="delete")), Mark.FAIL, "cleanup.policy=compact"),
        (judged(FACTS, with_config(FACTS, message_timestamp_type="CreateTime")), Mark.FAIL, f"{ALTER} {FACTS.name} "),
        (judged(FACTS, with_config(FACTS, message_timestamp_type="CreateTime")), Mark.FAIL, "LogAppendTime"),
        (judged(FACTS, with_config(FACTS, max_message_bytes="500000")), Mark.FAIL, "larger facts"),
        (judged(PUBLIC, with_config(PUBLIC, retention_ms="3600000")), Mark.WARN, "retention.ms"),
        (judged(PUBLIC, with_config(PUBLIC, retention_ms="-1")), Mark.OK, ""),
        (judged(PUBLIC, with_config(PUBLIC, retention_ms=str(4000 * DAY_MS))), Mark.OK, ""),
        (judged(INPUT, with_config(INPUT, retention_ms=str(DAY_MS))), Mark.WARN, "deleted unread"),
        (judged(INPUT, with_config(INPUT, cleanup_policy="compact,delete")), Mark.FAIL, "compaction"),
        (judged(INPUT, found(INPUT), workers=INPUT.partitions + 1), Mark.WARN, "partition-growth"),
        (judged(INPUT, found(INPUT, config={})), Mark.OK, ""),
        (judged(INPUT, ahead(2**63 - 1)), Mark.WARN, f"{ALTER} {INPUT.name} --add-config message.timestamp.after.max.ms=3600000"),
        (judged(INPUT, ahead(30 * DAY_MS)), Mark.WARN, "from the future"),
        (judged(INPUT, ahead(DAY_MS)), Mark.OK, ""),
        (judged(INPUT, ahead(2**63 - 1, "LogAppendTime")), Mark.OK, ""),
        (judged(INPUT, with_config(INPUT, message_timestamp_type="CreateTime")), Mark.OK, ""),
        (judged(INPUT, around(2**63 - 1)), Mark.WARN, "--add-config message.timestamp.type=LogAppendTime"),
        (judged(INPUT, around(DAY_MS)), Mark.OK, ""),
        (judged(INPUT, around(DAY_MS, message_timestamp_after_max_ms=str(2**63 - 1))), Mark.OK, ""),
        (judged(INPUT, around(2**63 - 1, message_timestamp_after_max_ms=str(DAY_MS))), Mark.OK, ""),
        (soundness.brokers(1, 3), Mark.FAIL, "replication_factor"),
        (soundness.group(Group(), {"logs.access": 2}, READ), Mark.WARN, "trainwatch worker"),
        (soundness.group(Group(asked=False), {"logs.access": 2}, READ), Mark.SKIP, ""),
        (soundness.group(Group(workers=1, read=frozenset({("logs.access", 0)})), {"logs.access": 2}, READ), Mark.FAIL, "logs.access/1"),
        (soundness.group(Group(workers=1, stable=False), {"logs.access": 2}, READ), Mark.OK, "just now"),
        (soundness.group(Group(workers=1, read=frozenset({("logs.access", 0)})), {"logs.access": 1}, READ), Mark.OK, "1 worker"),
        (soundness.group(Group(workers=1, rights=frozenset({"DESCRIBE"})), {}, READ), Mark.FAIL, "READ"),
        (soundness.own_group("g", Group(asked=False), READ), Mark.FAIL, "topics acl"),
        (soundness.own_group("g", Group(rights=frozenset({"DESCRIBE"})), READ), Mark.FAIL, "topics acl"),
        (soundness.own_group("g", Group(), READ), Mark.OK, ""),
        (soundness.notifier(Group(asked=False), None), Mark.SKIP, ""),
        (soundness.notifier(Group(), None), Mark.WARN, "trainwatch notify"),
        (soundness.notifier(Group(), 7), Mark.WARN, "--once"),
        (soundness.notifier(Group(workers=2), 0), Mark.WARN, "one for a site"),
        (soundness.notifier(Group(workers=1), 5000), Mark.WARN, "TrainwatchNotifierDown"),
        (soundness.notifier(Group(workers=1), 5), Mark.OK, ""),
        (soundness.brokers(3, 1), Mark.WARN, "dead disk"),
        (soundness.brokers(3, 3), Mark.OK, ""),
        (soundness.broker_clock(NOW + 60_000, NOW), Mark.FAIL, "NTP"),
        (soundness.broker_clock(NOW - 60_000, NOW), Mark.OK, ""),
        (soundness.broker_clock(None, NOW), Mark.SKIP, ""),
        (soundness.clock(-8.0), Mark.FAIL, "NTP"),
        (soundness.clock(0.3), Mark.OK, ""),
        (soundness.version("26.7.3.1", settings_there=True), Mark.OK, ""),
        (soundness.version("25.3.1.1", settings_there=True), Mark.WARN, "26.7"),
        (soundness.version("21.1.1.1", settings_there=False), Mark.FAIL, "double"),
        (soundness.tables({"events": "MergeTree SETTINGS non_replicated_deduplication_window = 9"}, {"events"}, 99), Mark.FAIL, "double"),
        (soundness.tables({"events": "ReplicatedMergeTree ORDER BY ts"}, {"events"}, 100_000), Mark.OK, ""),
        (soundness.retention({"events": 30, "verdicts": 365}, SETTINGS.clickhouse), Mark.WARN, "migrate up"),
        (soundness.retention({"events": 365}, SETTINGS.clickhouse), Mark.OK, ""),
        (soundness.retention({"events": 90}, ClickHouseSettings(retention_days_by_table={"events": 90})), Mark.OK, "but for 1"),
        (soundness.rights(["INSERT ON trainwatch.events"], "trainwatch", "eve", *AS_WORKER), Mark.FAIL, "deploy/sql/roles.sql"),
        (soundness.rights([], "trainwatch", "trainwatch_worker", *AS_WORKER), Mark.OK, ""),
        (soundness.parts(1600, 3000), Mark.WARN, "interval_seconds"),
        (soundness.parts(3, 3000), Mark.OK, ""),
        (soundness.disks([("default", 5, 100)])[0], Mark.FAIL, "retention_days"),
        (soundness.disks([("default", 15, 100)])[0], Mark.WARN, "retention_days"),
        (soundness.disks([("default", 50, 100)])[0], Mark.OK, ""),
        (soundness.file_mode("key", Path("/k"), status(0o600)), Mark.OK, ""),
        (soundness.file_mode("key", Path("/k"), status(0o640)), Mark.FAIL, "chmod 600"),
        (soundness.prices(SETTINGS, NOW), Mark.OK, ""),
        (soundness.unreadable(SETTINGS), Mark.OK, "3 hosts"),
        (soundness.unreadable(Settings(ingest={"failing_hosts": 0})), Mark.WARN, "Set it back to 3"),
        (soundness.references(SETTINGS)[0], Mark.WARN, "identities"),
    ],
)  # fmt: skip
def test_what_would_hurt_is_told_with_what_to_do(line: Line, mark: Mark, word: str) -> None:
    """And what would not is ok."""
    assert line.mark is mark, line
    assert bool(line.advice) == (mark in (Mark.WARN, Mark.FAIL))
    assert word in f"{line.found} {line.advice}"


def test_nothing_is_said_of_what_is_not_there() -> None:
    """No exceptions, no minus before a nought."""
    assert soundness.retention({"events": 365}, SETTINGS.clickhouse).found == "365 days"
    assert soundness.clock(-0.01).found == "0.0 s from this machine"


@pytest.mark.parametrize(
    ("mode", "own", "others"),
    [(0o600, True, False), (0o400, True, False), (0o440, True, True), (0o604, True, True), (0o440, False, False), (0o444, False, True),
     (0o460, False, True)],
)  # fmt: skip
def test_whether_others_may_use_a_secret_has_one_rule(mode: int, own: bool, others: bool) -> None:
    """For whoever loads a key and for `check`: a container's orchestrator mounts secrets as its own, readable by our group."""
    assert others_may(status(mode, None if own else os.getuid() + 1)) == others


@pytest.mark.parametrize(
    ("since", "mark"), [("2026-01-01", Mark.OK), ("2024-01-01", Mark.WARN), ("2027-01-01", Mark.WARN)]
)  # fmt: skip
def test_prices_are_looked_at_as_of_today(since: str, mark: Mark) -> None:
    """One that ended long ago, or begins later, is told."""
    price = {"from": since, "currency": "CNY", "gpu_hour": [12, 20, 50]}
    assert soundness.prices(Settings(loss={"prices": [price]}), NOW).mark is mark


@pytest.mark.parametrize(
    ("detector", "days", "mark", "word"),
    [("p04_environment_tamper", 30, Mark.OK, "because we said so"), ("p04_environment_tamper", 7, Mark.WARN, "ends in 7.0 days"),
     ("p04_environment_tamper", 0, Mark.WARN, "has ended"), ("p04_environment_tamper", 401, Mark.WARN, "more than a year"),
     ("p18_telemetry_tamper", 30, Mark.WARN, "recording was switched off"), ("p04", 30, Mark.FAIL, "no detector p04")],
)  # fmt: skip
def test_what_the_site_puts_up_with_is_listed(detector: str, days: int, mark: Mark, word: str) -> None:
    """With reason and end; what ends soon, has ended, ends too late, or hides how others hide is told."""
    why: Any = {"because": "because we said so", "until": (NOW + days * DAY_MS) / 1000}
    line, *_ = soundness.excuses(Settings(detect={"suppressions": [{"detector": detector, "subject": "gpu-012", **why}]}), NOW)
    assert (line.mark, word in f"{line.found} {line.advice}") == (mark, True)
    [line] = soundness.excuses(Settings(detect={"hooks_allowed": ["a" * 64, {"value": "b" * 64, **why}]}), NOW)
    assert "b" * 64 in line.what


def test_names_that_nobody_has_are_told() -> None:
    """A writer that is misspelt would be accused."""
    identities: Any = [{"id": "u017", "login": "u017"}]
    roots: Any = [{"path": "/lustre/ckpt", "writers": ["u017", "ckpt-reshardd"]}]
    [line] = soundness.references(Settings(identities=identities, artefact_roots=roots))
    assert (line.mark, "ckpt-reshardd (artefact_roots /lustre/ckpt)" in line.found) == (Mark.FAIL, True)
    excuse: Any = {"detector": "p01_foreign_kill", "owner": "u170", "because": "x", "until": NOW / 1000}
    [line] = soundness.references(Settings(identities=identities, detect={"suppressions": [excuse]}))
    assert (line.mark, "u170 (suppression p01_foreign_kill owner=u170)" in line.found) == (Mark.FAIL, True)
    [line] = soundness.references(Settings(identities=identities))
    assert line.mark is Mark.OK


def test_clusters_that_no_source_has_are_told() -> None:
    """A ticket of a misspelt one covers nothing, an identity is nobody's, and no one would notice."""
    sources: Any = [{"name": "west", "cluster": "west"}]
    excuse: Any = {"detector": "p01_foreign_kill", "subject": "123", "because": "x", "until": NOW / 1000}
    window: Any = {"id": "CHG1", "start": 0, "end": NOW / 1000}
    for cluster, stray in (("", 0), ("main", 0), ("west", 0), ("wset", 3)):
        detect: Any = {"suppressions": [{**excuse, "cluster": cluster}]}
        tickets: Any = [{**window, "cluster": cluster}]
        identities: Any = [{"id": "w77", "uid": 5099, "clusters": [cluster] if cluster else []}]
        found = list(soundness.clusters(Settings(sources=sources, detect=detect, tickets=tickets, identities=identities)))
        assert [line.mark for line in found] == [Mark.FAIL] * bool(stray)
        assert all("3 that no source has: wset (suppression p01_foreign_kill cluster=wset subject=123)" in line.found for line in found)
        assert all("wset (identity w77)" in line.found for line in found)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        ({"clickhouse": {"password": "x"}}, True),
        ({"notify": {"targets": [{"name": "oncall", "url": "https://x"}]}}, True),
        ({"notify": {"targets": [{"name": "oncall", "url_file": "/etc/x"}]}}, False),
        ({"clickhouse": {"password": ""}}, False),
        (None, False),
    ],
)
def test_a_settings_file_with_a_secret_is_known(content: object, secret: bool) -> None:
    """Whatever its place in the tree."""
    assert soundness.secrets_within(content) is secret


@pytest.mark.parametrize(("mode", "mark"), [(0o640, Mark.OK), (0o644, Mark.WARN), (0o666, Mark.FAIL)])
def test_settings_are_for_the_operators(tmp_path: Path, mode: int, mark: Mark) -> None:
    """Whoever interferes may be a colleague: he need not read what is suppressed, nor add to it."""
    path = tmp_path / "trainwatch.yaml"
    path.touch()
    path.chmod(mode)
    assert soundness.settings_mode(path, path.stat()).mark is mark


def test_one_fail_is_enough() -> None:
    """For the exit code, and for scripts."""
    lines = [soundness.ok("kafka", "x", "y"), soundness.warn("kafka", "x", "y", "z")]
    assert soundness.as_json(lines)["holds"] is True
    assert soundness.as_json([*lines, soundness.fail("kafka", "x", "y", "z")])["holds"] is False
