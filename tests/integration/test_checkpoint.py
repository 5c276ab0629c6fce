"""The checkpoint against faults, on the real broker and the real ClickHouse: nothing lost, nothing doubled, the same cases."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.checkpoint import STEPS
from pipeline.settings import Settings
from tests.integration.site import Site, open_site, running

pytestmark = pytest.mark.servers

BEFORE_STATE = STEPS[: STEPS.index("state")]


@pytest.fixture
def site(servers: Settings, tmp_path: Path) -> Iterator[Site]:
    with open_site(servers, tmp_path) as site:
        yield site


def check(site: Site) -> None:
    """All that must hold at the end, whatever happened."""
    site.check_rows()
    site.check_dead_letters()
    site.check_cases()
    site.check_verdicts()


def finish(site: Site) -> None:
    """Let a worker without faults end the work."""
    site.end_channels()
    worker = site.start()
    site.until(site.done, "the end of the input")
    site.until(lambda: not site.missing_verdicts(), "the verdicts")
    assert site.stop(worker) == 0, site.log()


def test_killed_at_each_step_before_the_state_is_written(site: Site) -> None:
    """SIGKILL at each step, one after the other: offsets are folded again, and each is in ClickHouse once."""
    kills = {}
    with site.feeding(per_second=1000):
        for step in ("recovered", *BEFORE_STATE):
            assert site.start(step=step, times=1 if step == "recovered" else 3).wait(60) == -signal.SIGKILL, site.log()
            kills[step] = len(site.folded())
    finish(site)
    check(site)
    shown = {step for step, batch in kills.items() if site.replayed(since=batch)}
    assert shown >= set(BEFORE_STATE), "nothing was replayed: the test shows nothing"


def test_killed_at_each_step_after_the_state_is_written(site: Site) -> None:
    """SIGKILL between state, offsets and deletions: the same."""
    with site.feeding(per_second=1000):
        for step in STEPS[STEPS.index("state") :]:
            assert site.start(step=step, times=3).wait(60) == -signal.SIGKILL, site.log()
    finish(site)
    check(site)


def test_stopped_in_order_repeats_nothing(site: Site) -> None:
    """SIGTERM under load: exit 0, and the next worker goes on where this one was."""
    with site.feeding(per_second=1000):
        for _ in range(2):
            worker = site.start()
            site.until(lambda: "taken over" in site.log(), "the take-over")
            assert site.stop(worker) == 0, site.log()
    finish(site)
    check(site)
    assert site.replayed() == 0


def test_workers_join_and_leave(servers: Settings, tmp_path: Path) -> None:
    """A second worker joins under load and leaves again: partitions move with their state."""
    with open_site(servers, tmp_path) as site:
        with site.feeding(per_second=500):
            first = site.start(instance="")
            site.until(lambda: "partitions taken over" in site.log(0), "the first take-over")
            second = site.start(instance="")
            site.until(lambda: "generation 2: 3 partitions" in site.log(1), "the second take-over")
            assert site.stop(first) == 0, site.log(0)
            site.until(lambda: "generation 3: 6 partitions" in site.log(1), "the third take-over")
            assert site.stop(second) == 0, site.log(1)
        finish(site)
        check(site)


def test_frozen_worker_wakes_up_too_late(servers: Settings, tmp_path: Path) -> None:
    """Frozen behind its intent for longer than its session: what it does when it wakes up counts for nothing."""
    with open_site(servers, tmp_path, kafka={"partitions": 2, "session_timeout_seconds": 6.0}) as site:
        with site.feeding(per_second=300):
            frozen = site.start(instance="", step="intent", times=3, fault="stop")
            site.until(lambda: not running(frozen), "the freeze")
            second = site.start(instance="")
            site.until(lambda: "6 partitions taken over" in site.log(1), "the take-over")
            site.until(lambda: "had landed" in site.log(1) or site.replayed() > 0, "the repeated range")
            frozen.send_signal(signal.SIGCONT)
            site.until(lambda: "checkpoint abandoned" in site.log(0), "the frozen worker's discovery")
            assert site.stop(second) == 0, site.log(1)
            frozen.send_signal(signal.SIGTERM)
            frozen.wait(60)
        finish(site)
        check(site)


def codes_of_dead_letters(site: Site) -> set[bytes]:
    """The reasons in the dead-letter topic."""
    return {dict(record.headers)["x-dlq-code"] for record in site.read(f"{site.settings.kafka.topic_prefix}dead-letter.v1")}


def test_a_record_that_breaks_ingest_is_a_dead_letter(site: Site) -> None:
    """The worker goes on, and the account of its offsets holds."""
    site.send(200)
    site.send(1, values=iter([f"boom,0,{1_760_000_000_000}"]))
    site.send(200)
    worker = site.start(raises_at="ingest")
    site.until(site.done, "the end of the input")
    assert site.stop(worker) == 0
    assert codes_of_dead_letters(site) == {b"decode_error", b"step_raised"}


def test_a_keyed_step_that_raises_ends_the_worker_and_commits_nothing(site: Site) -> None:
    """The next worker, with the fault cured, folds all of it."""
    site.send(200)
    site.send(1, values=iter([f"boom,0,{1_760_000_000_000}"]))
    site.send(200)
    assert site.start(raises_at="counts").wait(60) == 1
    assert "stage counts raised" in site.log()
    finish(site)
    check(site)


def test_a_fact_that_raises_twice_is_set_aside(site: Site) -> None:
    """Once in a batch, which ends the worker; the next one takes it back, comes to it alone, goes on without it, and says so."""
    site.send(200)
    site.send(1, values=iter([f"boom,0,{1_760_000_000_000}"]))
    site.send(200)
    assert site.start(raises_at="counts").wait(60) == 1
    worker = site.start(raises_at="counts")
    site.until(lambda: b"step_raised" in codes_of_dead_letters(site), "the dead letter")
    site.end_channels()
    site.until(lambda: {case for case, _ in site.missing_verdicts()} == {"boom"}, "the verdicts on all others")
    assert site.stop(worker) == 0, site.log()


def test_silence_closes_the_last_window(servers: Settings, tmp_path: Path) -> None:
    """No further record comes, and the last cases are judged all the same."""
    with open_site(servers, tmp_path, time={"idle_seconds": 1}) as site:
        site.send(120)
        worker = site.start()
        site.until(lambda: not site.missing_verdicts(), "the verdicts")
        assert site.stop(worker) == 0
        check(site)
