"""Wrong zones: a whole number of quarter-hours that stays is told with the likely zone; lateness of any kind is not."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.ingest.step import build_state, step
from pipeline.ingest.zones import CLOCKS_MAX, FILES_MAX, LINES_MIN, PLACES, QUARTER_MS, SPAN_MS, WINDOW_MS, Zones, merged
from pipeline.settings import IngestSettings, KafkaSettings, SourceSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import T0

CLOCK = ("slurmctld", "ctl-001", "UTC")
HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def watched(lines: list[tuple[int, int]], zone: str = "UTC") -> Zones:
    """(event time, collected) of lines, ms from T0."""
    zones = Zones()
    for time, collected in lines:
        zones.note(("slurmctld", "ctl-001", zone), T0 + time, T0 + collected)
    return zones


def steady(off: int, count: int = 60, every: int = MINUTE_MS) -> list[tuple[int, int]]:
    """Punctual lines whose times are off by so many milliseconds."""
    return [(number * every + off - 2_000, number * every) for number in range(count)]


zone_names = st.sampled_from(PLACES)
punctual = st.lists(st.integers(0, 90_000), min_size=60, max_size=60)


@given(zone_names, zone_names, punctual)
def test_a_wrong_zone_is_told(read: str, true: str, delays: list[int]) -> None:
    """By how much it is off, and a zone of the offset that its host has; a zone that means the same is not wrong."""
    moment = datetime.fromtimestamp(T0 / 1000, ZoneInfo("UTC")) + timedelta(hours=1)
    ahead, own = (moment.astimezone(ZoneInfo(name)).utcoffset() for name in (true, read))
    assert ahead is not None
    assert own is not None
    off = round((ahead - own).total_seconds() * 1000)
    lines = [(number * MINUTE_MS + off - delay, number * MINUTE_MS) for number, delay in enumerate(delays)]
    found = watched(lines, read).suspects("logs.scheduler")
    if off == 0:
        assert not found
        return
    (suspect,) = found
    assert suspect.ahead_minutes * MINUTE_MS == off
    assert suspect.ahead_minutes % 15 == 0
    assert true in suspect.examples
    for part in ("slurmctld", "ctl-001", read, suspect.likely, true):
        assert part in suspect.text


@given(st.data())
def test_a_backlog_is_no_wrong_zone(data: st.DataObject) -> None:
    """Lines of hours that are shipped faster than they were written: whatever the backlog, the pace and the pauses."""
    count = data.draw(st.integers(40, 200))
    apart = data.draw(st.integers(1_000, 5 * MINUTE_MS))
    written = [number * apart for number in range(count)]
    faster = data.draw(st.floats(1.3, 1000))
    begun = data.draw(st.integers(0, 24 * HOUR_MS))
    shipped = [max(written[-1] + begun, time) + round((time - written[0]) / faster) for time in written]
    assert not watched(list(zip(written, shipped, strict=True))).suspects("t")


@given(st.integers(0, 12 * HOUR_MS), st.integers(10, 60))
def test_batches_are_no_wrong_zone(lag: int, minutes: int) -> None:
    """What is exported every so many minutes comes with every delay up to them, on top of a lag."""
    every = minutes * MINUTE_MS
    lines = [(time - lag, -(-time // every) * every) for time in range(0, 6 * HOUR_MS, MINUTE_MS)]
    assert not watched(lines).suspects("t")


@pytest.mark.parametrize("off", [-7 * MINUTE_MS, 5 * MINUTE_MS, -2 * HOUR_MS - 6 * MINUTE_MS, 3 * HOUR_MS + 8 * MINUTE_MS])
def test_a_constant_offset_of_something_else_is_no_wrong_zone(off: int) -> None:
    """A clock that is off, or a queue that stands: no whole number of quarter-hours."""
    assert not watched(steady(off)).suspects("t")


def test_a_delay_that_would_make_no_zone_is_none() -> None:
    """A quarter of an hour behind UTC there is no place on earth."""
    assert not watched(steady(-QUARTER_MS)).suspects("t")
    assert watched(steady(-4 * QUARTER_MS)).suspects("t")


@pytest.mark.parametrize(
    "lines",
    [
        steady(8 * HOUR_MS, LINES_MIN - 1),
        steady(8 * HOUR_MS, 1000, SPAN_MS // 1001),
        [*steady(8 * HOUR_MS, 50), *steady(0, 50)],
        steady(40 * HOUR_MS),
        [],
    ],
    ids=["too few lines", "too short a time", "half of them right", "further than zones are apart", "nothing"],
)
def test_too_little_to_tell(lines: list[tuple[int, int]]) -> None:
    """A suspicion that people would have to look into needs more."""
    assert not watched(lines).suspects("t")


def test_a_clock_that_was_put_right_is_forgiven() -> None:
    """The newest window with enough lines counts; two are kept."""
    wrong = steady(8 * HOUR_MS)
    right = [(time + WINDOW_MS - 8 * HOUR_MS, collected + WINDOW_MS) for time, collected in wrong]
    assert watched(wrong).suspects("t")
    assert not watched([*wrong, *right]).suspects("t")


@given(st.permutations(range(90)))
def test_order_does_not_matter(order: list[int]) -> None:
    """The same lines, over three windows of which one is forgotten."""
    lines = [(number * HOUR_MS // 2 + 8 * HOUR_MS, number * HOUR_MS // 2) for number in range(90)]
    assert watched([lines[number] for number in order]).suspects("t") == watched(lines).suspects("t")


def test_clocks_are_bounded() -> None:
    """Further ones are counted, and those that are known go on."""
    zones = Zones()
    for number in range(CLOCKS_MAX + 5):
        zones.note(("training", f"job-{number}.out", "UTC"), T0, T0)
    zones.note(("training", "job-0.out", "UTC"), T0, T0)
    assert zones.left_out == 5


def test_partitions_agree_on_the_one_with_the_most_lines() -> None:
    """A host whose records lie in two partitions is told once."""
    few, many = (watched(steady(8 * HOUR_MS, count)).suspects("t") for count in (40, 60))
    assert merged([*few, *many]) == many


def test_places_are_zones_for_every_offset_in_use() -> None:
    """In winter and in summer; a zone that is set wrongly has an offset of one of them."""
    for moment in (datetime(2026, 1, 15, tzinfo=ZoneInfo("UTC")), datetime(2026, 7, 15, tzinfo=ZoneInfo("UTC"))):
        used = {moment.astimezone(ZoneInfo(name)).utcoffset() for name in available_timezones() if not name.startswith("Etc/")}
        assert used <= {moment.astimezone(ZoneInfo(name)).utcoffset() for name in PLACES}


# --- in ingest ----------------------------------------------------------------------------------------------------------------------


@hypothesis_settings(deadline=None, max_examples=5)
@given(st.sampled_from(["UTC", "Asia/Shanghai"]), st.integers(1, 50))
def test_ingest_notices_it(zone: str, size: int) -> None:
    """A controller in Shanghai that settings take for one in UTC, by lines as it writes them, whatever the batches."""
    source = SourceSettings(name="ctl", program="slurmctld", zone=zone)
    state = build_state(build.settings(sources=(source,)), Cases())
    wall = datetime.fromtimestamp(T0 / 1000, ZoneInfo("Asia/Shanghai"))
    records = []
    for number in range(120):
        at = number * 30
        text = f"[{(wall + timedelta(seconds=at)).strftime('%Y-%m-%dT%H:%M:%S')}.000] error: Nodes gpu-{number:03d} not responding"
        headers = [("host", b"ctl-001"), ("source", b"slurmctld"), ("collected", b"%d" % (T0 + 1000 * (at + 2)))]
        records.append(build.record(text, number, topic="logs.scheduler", at=at + 3, headers=headers))
    cuts = [*range(0, len(records), size), len(records)]
    for start, end in pairwise(cuts):
        state, _ = step(state, records[start:end], NOTHING)
    found = state.zones.suspects("logs.scheduler")
    if zone != "UTC":
        assert not found
        return
    (suspect,) = found
    assert (suspect.where, suspect.ahead_minutes, suspect.likely) == ("ctl-001", 480, "UTC+08:00")
    assert "Asia/Shanghai" in suspect.examples


def test_what_anybody_may_send_makes_no_clock_a_wrong_one() -> None:
    """Of a family that has an authenticated topic: people would set a zone that is none."""
    kafka = KafkaSettings(scheduler_topics=("logs.scheduler", "logs.open"))
    found = {}
    for closed in ("logs.scheduler", "logs.access"):
        state = build_state(build.settings(kafka=kafka, ingest=IngestSettings(authenticated_topics=(closed,))), Cases())
        records = []
        for number in range(120):
            moment = datetime.fromtimestamp(T0 / 1000 + 8 * 3600 + number * 30, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            headers = [("host", b"ctl-001"), ("source", b"slurmctld"), ("collected", b"%d" % (T0 + 1000 * (30 * number + 2)))]
            text = f"[{moment}.000] error: Nodes gpu-{number:03d} not responding"
            records.append(build.record(text, number, topic="logs.open", at=30 * number + 3, headers=headers))
        state, _ = step(state, records, NOTHING)
        found[closed] = [each.ahead_minutes for each in state.zones.suspects("logs.open")]
    assert found == {"logs.scheduler": [], "logs.access": [480]}


# --- two clocks in one file ----------------------------------------------------------------------------------------------------------

MLLOG = (
    '0: :::MLLOG {{"namespace": "", "time_ms": {}, "event_type": "POINT_IN_TIME", "key": "train_loss", "value": 1.29, "metadata": {{}}}}'
)
CANCELLED = "slurmstepd: error: *** STEP {}.0 ON gpu-001 CANCELLED AT {:%Y-%m-%dT%H:%M:%S} ***"
STARTING = "3: STARTING TIMING RUN AT {:%Y-%m-%d %I:%M:%S %p}"


def job_output(job: int, silent_seconds: int, zone: str = "Asia/Shanghai") -> list[str]:
    """A run that is cancelled so long behind its last record, as a node in that zone writes it."""
    begun = datetime.fromtimestamp(T0 / 1000 + 4_000 * job, ZoneInfo(zone))
    records = [MLLOG.format(int((begun + timedelta(seconds=20 + number)).timestamp() * 1000)) for number in range(3)]
    return [STARTING.format(begun), STARTING.format(begun), *records, CANCELLED.format(job, begun + timedelta(seconds=22 + silent_seconds))]


def told_of_files(files: dict[str, list[str]], zone: str = "UTC", **changes: Any) -> list[tuple[int, str, int]]:
    """What is suspected, days later, when all were shipped at once."""
    state = build_state(build.settings(sources=(SourceSettings(name="output", zone=zone),), **changes), Cases())
    lines = [(file, line) for file, some in files.items() for line in some]
    for number, (file, line) in enumerate(lines):
        state, _ = step(state, [build.record(line, number, at=3 * build.DAY, headers=[("file", file.encode())])], NOTHING)
    return [(each.ahead_minutes, each.likely, each.lines) for each in state.zones.suspects("logs.training")]


FILES: dict[str, tuple[dict[str, list[str]], str, list[tuple[int, str, int]]]] = {
    "three runs": ({f"/o/{job}.out": job_output(job, 30) for job in (1, 2, 3)}, "UTC", [(480, "UTC+08:00", 6)]),
    "read in their zone": ({f"/o/{job}.out": job_output(job, 30) for job in (1, 2, 3)}, "Asia/Shanghai", []),
    "west of the settings": ({f"/o/{job}.out": job_output(job, 30, "America/New_York") for job in (1, 2)}, "UTC", [(-300, "UTC-05:00", 4)]),
    "long silent before the end": ({f"/o/{job}.out": job_output(job, 700) for job in (1, 2, 3)}, "UTC", [(480, "UTC+08:00", 6)]),
    "one run": ({"/o/1.out": job_output(1, 30)}, "UTC", []),
    "no record": ({f"/o/{job}.out": job_output(job, 30)[-1:] for job in range(5)}, "UTC", []),
    "records of other files": (
        {f"/o/{job}.out": [line for line in job_output(job, 30) if ("MLLOG" in line) == (job % 2 == 0)] for job in range(8)}, "UTC", [],
    ),
    "no two agree": ({f"/o/{job}.out": job_output(job, 30 + 3600 * job)[2:] for job in (1, 2, 3)}, "UTC", []),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_records_in_utc_show_a_wrong_zone(name: str) -> None:
    """Beside local lines of the same file; however late both are shipped."""
    files, zone, expected = FILES[name]
    assert told_of_files(files, zone) == expected


def test_records_in_utc_of_an_open_topic_show_nothing() -> None:
    """Where another one is closed; anybody can print both lines."""
    kafka = KafkaSettings(training_topics=("logs.training", "logs.closed"))
    ingest = IngestSettings(authenticated_topics=("logs.closed",))
    assert told_of_files(FILES["three runs"][0], kafka=kafka, ingest=ingest) == []


def test_pairs_are_bounded() -> None:
    """Of more files than that some are looked at again from their beginning."""
    zones = Zones()
    for number in range(3 * FILES_MAX):
        zones.note_local(CLOCK, f"/o/{number}.out", "cancelled", T0)
        zones.note_utc(CLOCK, f"/o/{number}.out", T0 - 8 * HOUR_MS)
    (suspect,) = zones.suspects("logs.training")
    assert (suspect.ahead_minutes, suspect.lines, len(zones._files)) == (480, 3 * FILES_MAX, FILES_MAX)
    assert "8:00 h ahead of the records in UTC beside them" in suspect.text
