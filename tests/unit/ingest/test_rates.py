"""Expected rates: an hour in which a host says less than its source should is told, and only when it is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.rates import FORGOTTEN_HOURS, HOSTS_MAX, HOURS_KEPT, SETTLED_MS, Rates, Under, merged
from pipeline.ingest.step import build_state, step
from pipeline.model.instants import HOUR_MS
from pipeline.model.outcome import Record
from pipeline.settings import IngestSettings, KafkaSettings, SourceSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import T0

EXPECTED = [("audit", 60), ("audit", 0), ("sshd", 0)]
Lines = list[tuple[str, int, int]]  # host, hour from T0, number of lines in it


def counted(lines: Lines, until: float) -> Rates:
    rates = Rates(EXPECTED)
    for host, hour, count in lines:
        for number in range(count):
            rates.note("audit", host, T0 + hour * HOUR_MS + number * 1000)
    rates.progress(T0, T0 + round(until * HOUR_MS))
    return rates


def under(*parts: Rates) -> list[Under]:
    return merged((rates, rates.newest) for rates in parts)[0]


STEADY: Lines = [("gpu-001", hour, 60) for hour in range(5)]


@pytest.mark.parametrize(
    ("lines", "until", "told"),
    [
        (STEADY, 4.2, []),
        ([*STEADY[:3], ("gpu-001", 3, 59)], 4.2, [("gpu-001", 59)]),
        (STEADY[:3], 4.2, [("gpu-001", 0)]),
        (STEADY[:3], 4.1, []),
        ([*STEADY, ("gpu-002", 3, 5)], 4.2, []),
        ([*STEADY, ("gpu-002", 2, 5), ("gpu-002", 3, 5)], 4.2, [("gpu-002", 5)]),
        ([("gpu-001", 0, 60)], FORGOTTEN_HOURS + 1.2, []),
        ([], 5, []),
    ],
    ids=[
        "as expected", "one line too few", "silent", "the hour is not over for slow shippers", "its first hour may be a part of one",
        "a poor second hour", "gone for good", "never heard",
    ],
)  # fmt: skip
def test_who_fell_under_the_rate(lines: Lines, until: float, told: list[tuple[str, int]]) -> None:
    """In the last hour that is over, by host."""
    found = under(counted(lines, until))
    assert [(each.host, each.lines) for each in found] == told
    assert all((each.source, each.expected, each.hour) == ("audit", 60, T0 + 3 * HOUR_MS) for each in found)
    assert all(each.host in each.text and "at least 60" in each.text for each in found)


def test_records_without_key_are_added_up_over_partitions() -> None:
    """A host whose records lie in two partitions has the lines of both."""
    half: Lines = [("gpu-001", hour, 30) for hour in range(5)]
    one, two = counted(half, 4.2), counted(half, 4.2)
    assert [each.lines for each in under(one)] == [30]
    assert under(one, two) == []


def test_the_slowest_partition_says_which_hour_is_over() -> None:
    """A backlog may still hold the lines that seem to be missing."""
    slow, quick = counted(STEADY[:2], 1.9), counted([("gpu-002", hour, 60) for hour in range(5)], 4.2)
    assert under(slow, quick) == []
    assert [each.host for each in under(counted(STEADY[:2], 4.2), quick)] == ["gpu-001"]


def test_lines_of_the_whole_source_are_told_once_an_hour_was_whole() -> None:
    """0 for a source that is expected and was not heard; nothing in the hour in which we began to listen."""
    assert merged([(counted([], 0.9), T0 + HOUR_MS + SETTLED_MS)])[1] == {}
    assert merged([(counted([], 5), T0 + 5 * HOUR_MS)])[1] == {"audit": 0}
    assert merged([(rates := counted(STEADY, 4.2), rates.newest)])[1] == {"audit": 60}


@given(st.permutations(range(60)))
def test_order_does_not_matter(order: list[int]) -> None:
    """The same lines over six hours, of which three are kept."""
    lines: Lines = [("gpu-001", number // 10, 1) for number in range(60)]
    mixed, straight = counted([lines[number] for number in order], 6.2), counted(lines, 6.2)
    assert mixed.heard == straight.heard
    assert len(mixed.heard["audit", "gpu-001"].counts) == HOURS_KEPT


def test_hosts_are_bounded() -> None:
    """Further ones are counted."""
    rates = Rates(EXPECTED)
    for number in range(HOSTS_MAX + 3):
        rates.note("audit", f"host-{number}", T0)
    assert (len(rates.heard), rates.left_out) == (HOSTS_MAX, 3)


@pytest.mark.parametrize(("closed", "lines"), [("logs.scheduler", 1), ("logs.access", 2)])
def test_what_anybody_may_send_is_no_sign_of_life(closed: str, lines: int) -> None:
    """Of a family that has an authenticated topic; of one that has none every line counts."""
    source = SourceSettings(name="ctl", program="slurmctld", expected_per_hour=10)
    kafka, given = KafkaSettings(scheduler_topics=("logs.scheduler", "logs.open")), IngestSettings(authenticated_topics=(closed,))
    state = build_state(build.settings(kafka=kafka, ingest=given, sources=(source,)), Cases())
    headers = [("host", b"ctl-001"), ("source", b"slurmctld"), ("collected", b"%d" % T0)]
    read = "[2026-03-02T00:00:00.000] error: Nodes gpu-001 not responding"
    state, _ = step(state, [build.record(read, topic=topic, headers=headers) for topic in ("logs.scheduler", "logs.open")], NOTHING)
    assert [sum(heard.counts.values()) for heard in state.rates.heard.values()] == [lines]


def test_ingest_counts_what_it_can_read() -> None:
    """Lines of the entry that fits, by their host, at the time of collection; what no format reads is no sign of life."""
    source = SourceSettings(name="ctl", program="slurmctld", expected_per_hour=10)
    state = build_state(build.settings(sources=(source, SourceSettings(name="rest"))), Cases())

    def line(number: int, text: str, program: bytes = b"slurmctld") -> Record:
        headers = [("host", b"ctl-001.example"), ("source", program), ("collected", b"%d" % (T0 + 1000))]
        return build.record(text, number, topic="logs.scheduler", at=5 * 3600, headers=headers)

    read = "[2026-03-02T00:00:00.000] error: Nodes gpu-001 not responding"
    state, _ = step(state, [line(1, read), line(2, "no such line"), line(3, read, b"other"), line(4, read)], NOTHING)
    assert {key: heard.counts for key, heard in state.rates.heard.items()} == {("ctl", "ctl-001"): {T0 // HOUR_MS: 2}}
    assert state.rates.newest == T0 + 1000
