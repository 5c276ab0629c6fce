"""Clocks as ingest meets them: nights in which they are set, the turn of a year, jumps; punctual lines get the time they were written."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipeline.ingest.step import IngestState, build_state, step
from pipeline.model.outcome import EventRow, Observed, Outcome, Record
from pipeline.settings import SourceSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build

Write = Callable[[datetime], str]


def controller(wall: datetime) -> str:
    return f"[{wall.strftime('%Y-%m-%dT%H:%M:%S')}.000] error: Nodes gpu-001 not responding"


def system_log(wall: datetime) -> str:
    return f"{wall.strftime('%b %d %H:%M:%S')} login-1 sshd[7]: Accepted publickey for u017 from 10.0.0.7 port 50022 ssh2"


FORMATS: dict[str, tuple[str, str, Write]] = {
    "slurmctld": ("logs.scheduler", "slurmctld", controller),
    "sshd": ("logs.access", "sshd", system_log),
}
# When clocks are set, UTC: back by an hour, by half an hour, and forward; and turns of a year.
NIGHTS = {
    "Berlin, back": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "New York, back": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Lord Howe, back by half an hour": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Berlin, forward": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Shanghai, New Year": ("Asia/Shanghai", datetime(2026, 12, 31, 16, tzinfo=UTC)),
    "Honolulu, New Year": ("Pacific/Honolulu", datetime(2027, 1, 1, 10, tzinfo=UTC)),
    "a leap day": ("Asia/Tokyo", datetime(2028, 2, 28, 15, tzinfo=UTC)),
}


def ingest(zone: str, records: list[Record]) -> tuple[IngestState, list[Outcome]]:
    state = build_state(build.settings(sources=(SourceSettings(name="local", zone=zone),)), Cases())
    return step(state, records, NOTHING)


def shipped(topic: str, program: str, text: str, collected: datetime, offset: int) -> Record:
    milliseconds = round(collected.timestamp() * 1000)
    headers = (("host", b"ctl-001"), ("source", program.encode()), ("collected", b"%d" % milliseconds))
    return Record(topic=topic, partition=0, offset=offset, timestamp=milliseconds + 500, value=text.encode(), headers=headers)


@pytest.mark.parametrize("delay", [1, 120], ids=["at once", "two minutes late"])
@pytest.mark.parametrize(("zone", "change"), NIGHTS.values(), ids=NIGHTS)
@pytest.mark.parametrize(("topic", "program", "write"), FORMATS.values(), ids=FORMATS)
def test_a_night_in_which_clocks_change(topic: str, program: str, write: Write, zone: str, change: datetime, delay: int) -> None:
    """Every line of the hours around it has its true time, also those whose wall time comes twice; and the zone is not suspected."""
    moments = [change + timedelta(minutes=5 * number) for number in range(-36, 37)]
    records = [
        shipped(topic, program, write(moment.astimezone(ZoneInfo(zone))), moment + timedelta(seconds=delay), number)
        for number, moment in enumerate(moments)
    ]
    state, outcomes = ingest(zone, records)
    times = [out.event_time for out in outcomes if isinstance(out, EventRow)]
    assert times == [round(moment.timestamp() * 1000) for moment in moments]
    assert not any(out.future or out.late for out in outcomes if isinstance(out, EventRow))
    assert not state.zones.suspects(topic)


def test_of_a_late_line_the_later_of_two_times_is_taken() -> None:
    """Collected hours afterwards nothing tells which 02:30 was meant: the smaller delay is the likelier one."""
    moment = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the first 02:30 in Berlin
    text = controller(moment.astimezone(ZoneInfo("Europe/Berlin")))
    _, outcomes = ingest("Europe/Berlin", [shipped("logs.scheduler", "slurmctld", text, moment + timedelta(hours=3), 0)])
    (row,) = [out for out in outcomes if isinstance(out, EventRow)]
    assert row.event_time == round((moment + timedelta(hours=1)).timestamp() * 1000)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(minutes=-45), timedelta(hours=8)], ids=str)
def test_a_clock_that_jumps_and_comes_back(ahead: timedelta) -> None:
    """Lines written meanwhile are flagged when they are ahead, and move no mark; a jump of some minutes is no wrong zone."""
    begun = datetime(2026, 3, 2, 12, tzinfo=UTC)
    moments = [begun + timedelta(minutes=number) for number in range(240)]
    walls = [moment + ahead if 100 <= number < 120 else moment for number, moment in enumerate(moments)]
    records = [
        shipped("logs.scheduler", "slurmctld", controller(wall), moment + timedelta(seconds=2), number)
        for number, (wall, moment) in enumerate(zip(walls, moments, strict=True))
    ]
    state, outcomes = ingest("UTC", records)
    rows = [out for out in outcomes if isinstance(out, EventRow)]
    (observed,) = [out for out in outcomes if isinstance(out, Observed)]
    assert [row.future for row in rows] == [ahead > timedelta() and 100 <= number < 120 for number in range(240)]
    assert observed.event_time == round(moments[-1].timestamp() * 1000)
    assert not state.zones.suspects("logs.scheduler")
