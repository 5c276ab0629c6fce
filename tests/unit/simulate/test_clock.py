"""The event loop, and one instant in the formats of several logs."""

from collections.abc import Callable

import pytest

from pipeline.simulate import clock
from pipeline.simulate.clock import Clock, Process


def test_processes_wake_in_time_order_and_equal_instants_in_order_of_asking() -> None:
    """Two processes interleave by time; at the same instant the one that asked first goes first."""
    loop = Clock(100)
    seen: list[tuple[str, int]] = []

    def process(name: str, *wakes: int) -> Process:
        for wake in wakes:
            seen.append((name, loop.now))
            yield wake
        seen.append((name, loop.now))

    loop.start(process("a", 200, 300))
    loop.start(process("b", 150, 300), at=120)
    loop.run(until=1000)
    assert seen == [("a", 100), ("b", 120), ("b", 150), ("a", 200), ("b", 300), ("a", 300)]


def test_nothing_wakes_after_the_end_and_time_never_goes_back() -> None:
    """A wake-up in the past happens at once; one beyond the end never does."""
    loop = Clock(100)
    seen: list[int] = []

    def process() -> Process:
        yield 50
        seen.append(loop.now)
        yield 501
        seen.append(loop.now)

    loop.start(process())
    loop.run(until=500)
    assert seen == [100]


FORMATS: list[tuple[str, Callable[[int], str], int, str]] = [
    ("jobcomp: UTC without zone", lambda ms: clock.utc_second(ms // 1000), 1772480441318, "2026-03-02T19:40:41"),
    ("slurmctld: local without zone", clock.local_ms, 1772480441318, "2026-03-03T03:40:41.318"),
    ("sacct: local with offset", clock.local_offset, 1772480441318, "2026-03-03T03:40:41+0800"),
    ("shipper: UTC", clock.utc_ms, 1772480441318, "2026-03-02T19:40:41.318Z"),
    ("syslog: UTC, day padded", lambda ms: clock.syslog_time(ms // 1000), 1772480441318, "Mar  2 19:40:41"),
    ("glog: local, no year", clock.glog_time, 1772480441318, "0303 03:40:41.318000"),
]


@pytest.mark.parametrize(("name", "write", "ms", "text"), FORMATS, ids=lambda value: value if isinstance(value, str) else "")
def test_one_instant_in_every_format(name: str, write: Callable[[int], str], ms: int, text: str) -> None:
    """The same millisecond is written as each log would write it."""
    assert write(ms) == text, name
