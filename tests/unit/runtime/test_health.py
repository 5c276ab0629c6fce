"""When a worker is well, ready, or stuck: told in event order, asked at a moment, on a clock of the test."""

import json
from collections.abc import Callable

import pytest

from pipeline.errors import ErrorCode, SinkUnavailable
from pipeline.runtime.health import REASONS_MAX, Health, Reading
from pipeline.runtime.measured_sink import MeasuredSink
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.partition import Source
from pipeline.sink.memory import MemorySink
from tests.unit.runtime.build import row

LIMIT = 60.0
A, B = Source("logs.access", 0), Source("logs.access", 1)


class Life:
    """A worker's health, and the clock it lives by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.blocked = 0.0
        self.health = Health(LIMIT, lambda: self.now, lambda: self.blocked)

    def recovered(self, partitions: int = 2) -> "Life":
        self.health.assigned()
        self.health.recovered(partitions)
        return self

    def pass_(self, seconds: float, *readings: Reading, checkpoints: bool = True, unread: str = "") -> "Life":
        """Time passes, in looks three seconds apart."""
        for _ in range(int(seconds / 3)):
            self.now += 3
            if checkpoints:
                self.health.checkpoint_ended()
            if unread:
                self.health.unread(unread)
            else:
                self.health.read(readings)
        return self


def still(source: Source = A, lag: int = 5) -> Reading:
    return Reading(source, 0, 100, 100 + lag)


def stuck_with_lag() -> Life:
    return Life().recovered().pass_(70, still())


def moving() -> Life:
    life = Life().recovered()
    for offset in range(30):
        life.pass_(3, Reading(A, 0, offset, 1000))
    return life


def without_lag() -> Life:
    return Life().recovered().pass_(70, still(lag=0))


def lag_came_late() -> Life:
    return Life().recovered().pass_(70, still(lag=0)).pass_(30, still())


def one_of_two_stands() -> Life:
    life = Life().recovered()
    for offset in range(30):
        life.pass_(3, still(A), Reading(B, 0, offset, 1000))
    return life


def no_checkpoint() -> Life:
    return Life().recovered().pass_(70, still(lag=0), checkpoints=False)


def owns_nothing() -> Life:
    return Life().recovered(0).pass_(600, checkpoints=False)


def loop_blocked() -> Life:
    life = Life().recovered().pass_(9, still(lag=0))
    life.blocked = 70
    return life


def never_assigned() -> Life:
    return Life().pass_(70)


def long_recovery() -> Life:
    life = Life()
    life.health.assigned()
    return life.pass_(70)


def broker_away() -> Life:
    return Life().recovered().pass_(9, still()).pass_(600, unread="TimeoutError", checkpoints=False)


def sink_fails() -> Life:
    life = Life().recovered().pass_(3, still())
    life.health.sink_calls()
    life.health.sink_answered("SinkUnavailable: away")
    return life.pass_(600, still(), checkpoints=False)


def sink_silent() -> Life:
    life = Life().recovered().pass_(3, still())
    life.health.sink_calls()
    return life.pass_(600, still(), checkpoints=False)


def sink_back() -> Life:
    life = sink_fails()
    life.health.sink_calls()
    life.health.sink_answered()
    return life.pass_(30, still(), checkpoints=False)


def sink_back_and_yet_nothing() -> Life:
    return sink_back().pass_(60, still(), checkpoints=False)


def broker_back() -> Life:
    return broker_away().pass_(30, still())


# (what happened, what /healthz says, what the watchdog hears)
CASES: dict[str, tuple[Callable[[], Life], tuple[str, ...], str]] = {
    "moving": (moving, (), ""),
    "no lag": (without_lag, (), ""),
    "lag came late": (lag_came_late, (), ""),
    "idle member": (owns_nothing, (), ""),
    "stands with lag": (stuck_with_lag, ("logs.access/0 stands at 100 for 66 s with 5 records to go",), "logs.access/0 stands"),
    "one of two stands": (one_of_two_stands, ("logs.access/0 stands",), "logs.access/0 stands"),
    "no checkpoint": (no_checkpoint, ("no checkpoint has ended for 69 s",), "no checkpoint"),
    "loop blocked": (loop_blocked, ("the event loop has not turned for 70 s",), ""),  # the watchdog sees that itself
    "never assigned": (never_assigned, ("no assignment is recovered for 69 s",), "no assignment"),
    "long recovery": (long_recovery, ("no assignment is recovered for 69 s",), ""),
    "broker away": (broker_away, ("end offsets are unknown for 600 s: TimeoutError", "no checkpoint"), ""),
    "broker back": (broker_back, ("stands",), ""),
    "sink fails": (sink_fails, ("the sink fails for 600 s: SinkUnavailable: away", "stands", "no checkpoint"), ""),
    "sink silent": (sink_silent, ("the sink fails for 600 s: no answer", "stands", "no checkpoint"), ""),
    "sink back": (sink_back, ("stands", "no checkpoint"), ""),
    "sink back and yet nothing": (sink_back_and_yet_nothing, ("stands", "no checkpoint"), "stands"),
}


@pytest.mark.parametrize(("happened", "unhealthy", "hangs"), CASES.values(), ids=CASES)
def test_what_it_says(happened: Callable[[], Life], unhealthy: tuple[str, ...], hangs: str) -> None:
    """Reasons in full for people, what makes the rest stand first; only what a restart can cure for the watchdog."""
    health = happened().health
    reasons = health.unhealthy()
    assert len(reasons) == len(unhealthy), reasons
    assert [part for part, reason in zip(unhealthy, reasons, strict=True) if part not in reason] == []
    heard = health.hangs(LIMIT)
    assert hangs in heard
    assert bool(heard) == bool(hangs), heard


def test_ready_from_recovery_to_revocation() -> None:
    """And again not while the next assignment is being recovered."""
    life = Life()
    seen = [not life.health.unready()]
    for told in (life.health.assigned, lambda: life.health.recovered(2), life.health.dropped, life.health.assigned):
        told()
        seen.append(not life.health.unready())
    assert seen == [False, False, True, False, False]


def test_an_answer_names_a_few_partitions_of_many() -> None:
    """It stays readable when all stand."""
    readings = [still(Source("logs.access", number)) for number in range(20)]
    reasons = Life().recovered(20).pass_(70, *readings).health.unhealthy()
    assert len(reasons) == REASONS_MAX + 1
    assert reasons[-1] == "and 12 more"


@pytest.mark.parametrize(("path", "status"), [("/healthz", "503 "), ("/readyz", "200 "), ("/metrics", ""), ("/", "")])
def test_paths(path: str, status: str) -> None:
    """A status that a probe understands, and a body for people."""
    answer = stuck_with_lag().health.answer(path)
    assert (answer is None) == (not status)
    if answer is not None:
        assert answer[0].startswith(status)
        assert json.loads(answer[1])["partitions"] == 2


class Refusing(MemorySink):
    """As ClickHouse when it is away."""

    def insert(self, *_: object, **__: object) -> None:
        raise SinkUnavailable("away")


def test_a_measured_sink_tells_of_success_and_failure() -> None:
    """By call and code; health hears of what will be tried again."""
    life, metrics = Life(), Metrics()
    MeasuredSink(MemorySink(), metrics, life.health).insert("events", [row(1), row(2)], "t1")
    assert metrics.registry.get_sample_value("trainwatch_sink_rows_total", {"table": "events"}) == 2
    assert life.health.sink_failing_seconds() == 0
    with pytest.raises(SinkUnavailable):
        MeasuredSink(Refusing(), metrics, life.health).insert("events", [row(3)], "t2")
    life.now += 7
    code = {"code": ErrorCode.SINK_UNAVAILABLE.value}
    assert metrics.registry.get_sample_value("trainwatch_sink_errors_total", code) == 1
    assert metrics.registry.get_sample_value("trainwatch_sink_seconds_count", {"call": "insert"}) == 2
    assert metrics.registry.get_sample_value("trainwatch_sink_rows_total", {"table": "events"}) == 2
    assert life.health.sink_failing_seconds() == 7
