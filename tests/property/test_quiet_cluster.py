"""A quiet cluster: the last job died, no further record comes, and it is judged all the same.

    last record @102 ....... silence @102 + n s  ->  advanced marks pass end + grace, then end + grace + gap: final

Silence is decided by ingest and travels in the stream; here it is decided by hand, as the worker does it at zero lag.
"""

from typing import Any

import orjson
import pytest

from pipeline.model.outcome import Record
from pipeline.runtime.channel import silence
from pipeline.runtime.local import LocalRuntime
from tests import build
from tests.scenario.lines import Line, Site, ship

SITE = Site()
HUM = [line for at in range(-7200, 80, 300) for line in SITE.hum(at, ["slurmctld", "auditd", "kernel"])]
KILLED: list[Line] = [*HUM, *SITE.start(0), *SITE.rank(1), *SITE.kill(97), *SITE.end(100, state="FAILED", signal=9)]


def records(lines: list[Line]) -> list[Record]:
    return list(ship(lines))


def fall_silent(runtime: LocalRuntime, seconds: float) -> None:
    """Every input partition has been silent for so long at zero lag."""
    for part in runtime._parts.values():
        if part.observes:
            marks = part.marks
            marks.advance(silence(marks, dict.fromkeys([*marks.own_marks(), ""], round(seconds * 1000))))
    runtime.checkpoint()


def last_words(runtime: LocalRuntime) -> list[dict[str, Any]]:
    bodies = (*runtime.results.canonical_findings().values(), *runtime.results.canonical_verdicts().values())
    return [orjson.loads(body) for body in bodies]


@pytest.mark.parametrize("partitions", [1, 4])
def test_the_last_job_is_judged_without_further_records(partitions: int) -> None:
    """Provisional at once, final by silence alone."""
    runtime = LocalRuntime(build.settings(), partitions)
    runtime.feed(records(KILLED))
    runtime.checkpoint()
    assert [body["status"] for body in last_words(runtime)] == ["provisional", "provisional"]
    fall_silent(runtime, 60)
    assert [body["status"] for body in last_words(runtime)] == ["provisional", "provisional"]
    fall_silent(runtime, 600)
    assert [body["status"] for body in last_words(runtime)] == ["final", "final"]


def test_silence_proves_no_absence() -> None:
    """The controller was not heard behind the end: what it would have told stays unchecked, however long the silence."""
    runtime = LocalRuntime(build.settings())
    # The end lies in a bucket of its own, so that nothing heard before it counts as heard at it.
    moved = [line for line in HUM if line.at < 0] + [
        *SITE.start(0),
        *SITE.rank(1),
        *SITE.kill(1297),
        *SITE.end(1300, state="FAILED", signal=9),
    ]
    runtime.feed(records(moved))
    runtime.checkpoint()
    for days in (1, 10):
        fall_silent(runtime, days * build.DAY)
        finding = next(body for body in last_words(runtime) if "checklist" in body and "alert" in body)
        assert (finding["status"], finding["alert"], finding["gate"]) == ("final", False, "not checked: scheduler_cancel, out_of_memory")
        assert finding["actor"] == ""


def test_when_the_cluster_wakes_up_the_absence_is_judged_anew() -> None:
    """An hour of silence, then the sources speak again from within the gap: nothing more happened, and now that is known."""
    runtime = LocalRuntime(build.settings())
    runtime.feed(records(KILLED))
    runtime.checkpoint()
    fall_silent(runtime, 900)
    later = [line for at in range(400, 12_000, 300) for line in SITE.hum(at, ["slurmctld", "auditd", "kernel"])]
    runtime.feed(records(later))
    runtime.finish()
    one_go = LocalRuntime(build.settings())
    one_go.feed(records([*KILLED, *later]))
    assert runtime.results.canonical_findings() == one_go.finish().canonical_findings()
    (finding,) = (body for body in last_words(runtime) if "alert" in body)
    assert (finding["status"], finding["alert"], finding["actor"]) == ("final", True, "u099")
