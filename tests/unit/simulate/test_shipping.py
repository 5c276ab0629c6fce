"""Envelopes and the sins of shipping: order, offsets, delays, redelivery, broken values."""

import json
from collections import Counter
from random import Random

from pipeline.simulate.shipping import Events, Filebeat, RawLines, Record, Rsyslog, Shipper
from tests.unit.simulate.reading import Told, by_file

NOW = 1_772_480_441_318


def shipped(shipper: Shipper) -> list[Record]:
    """Delivered records without redeliveries."""
    return list(dict.fromkeys(shipper.delivered()))


def test_raw_lines_carry_source_host_file_offset_and_collection_time() -> None:
    """The value is the line; all else is in headers, and offsets count bytes, not characters."""
    shipper = Shipper(Random(1))
    raw = RawLines(shipper, Random(1), "logs.access", (100, 100), source="auditd", host="gpu-001", file="/var/log/audit/audit.log")
    raw.write(NOW, ["é", "b"])
    one, two = shipped(shipper)
    assert (one.value, one.timestamp, one.key) == ("é".encode(), NOW + 100, None)
    assert dict(one.headers) == {
        "source": b"auditd", "host": b"gpu-001", "file": b"/var/log/audit/audit.log", "offset": b"0",
        "collected": str(NOW + 100).encode(),
    }  # fmt: skip
    assert dict(two.headers)["offset"] == b"3"


def test_json_wrappers_keep_the_line_whole() -> None:
    """Filebeat and rsyslog put their own read time beside an untouched line; jobcomp has no envelope."""
    shipper = Shipper(Random(1))
    dice = Random(1)
    Filebeat(shipper, dice, "logs.training", (5000, 5000), host="gpu-001", file="/lustre/a.out").write(NOW, [' "x" '])
    Rsyslog(shipper, dice, "logs.access", (5000, 5000), host="gpu-001", file="/var/log/auth.log", tag="auth").write(NOW, ["y"])
    Events(shipper, dice, "logs.scheduler", (5000, 5000)).write(NOW, {"jobid": 7})
    beat, syslog, event = shipped(shipper)
    assert json.loads(beat.value)["message"] == ' "x" '
    assert json.loads(beat.value)["@timestamp"] == "2026-03-02T19:40:46.318Z"
    assert (json.loads(syslog.value)["message"], syslog.key) == ("y", b"gpu-001")
    assert (json.loads(event.value), event.headers) == ({"jobid": 7}, ())


def test_a_channel_never_overtakes_itself_but_a_late_spool_does_not_hold_it_up() -> None:
    """Lines of one file arrive in order; what is late on purpose arrives alone."""
    shipper = Shipper(Random(1))
    raw = RawLines(shipper, Random(7), "logs.access", (0, 3000), source="a", host="h", file="f")
    for number in range(50):
        raw.write(NOW + number, [str(number)])
    raw.write(NOW + 50, ["late"], late=3_600_000)
    raw.write(NOW + 51, ["after"])
    lines = [record.value.decode() for record in shipped(shipper)]
    assert lines == [*map(str, range(50)), "after", "late"]


def test_records_leave_in_order_and_some_twice(told: Told) -> None:
    """Timestamps never go back; redelivered records are identical and as many as the truth says."""
    records = told.week.records
    times = [record.timestamp for record in records]
    assert times == sorted(times)
    repeated = sum(count - 1 for count in Counter(records).values())
    assert repeated == told.week.duplicates > 0


def test_broken_values_are_as_many_as_the_truth_says(told: Told) -> None:
    """Only they cannot be read; they come beside the real records, not instead of them."""
    unreadable = len(told.week.records) - told.week.duplicates - len(told.texts)
    assert unreadable == sum(told.week.broken.values()) == 20


def test_offsets_leave_no_hole(told: Told) -> None:
    """Each file's lines follow one another byte by byte, so no line was lost on the way."""
    for name, lines in by_file(told.texts):
        expected = 0
        for text in lines:
            assert text.offset == expected, name
            expected += len(text.line.encode()) + 1


def test_delays_are_those_of_the_sources(told: Told) -> None:
    """auditd within seconds, accounting within the hour, and planted late records later than that."""
    late = [event for event in told.audit if event.collected - event.time > 60_000]
    planted = {int(act.detail["late_ms"]) for act in told.week.acts if act.kind == "checkpoint_tamper"} - {0}
    assert bool(late) == bool(planted)
    assert all(100 <= event.collected - event.time <= 4000 for event in told.audit if event not in late)
