"""The checkpoint against faults, on the real broker and the real ClickHouse: nothing lost, nothing doubled, the same cases.

On a tiny topology, of which the state is known case by case; kills, stops, joins and poison on the real one are in tests/faults.
"""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.integration import site as sites
from tests.integration.site import Site, open_site, running
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers


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
            frozen.wait(PATIENCE_SECONDS)
        finish(site)
        check(site)


def test_a_first_claim_that_comes_too_late(site: Site) -> None:
    """Frozen before it claims what nobody ever had; its twin does, and works.

    The generation is the same, and there is no offset yet whose commit could show who is out.  Both are newcomers: awake at once they push
    each other out, and one or both may give way for it.
    """
    frozen = site.start(step="looked", times=6, then="claimed", fault="stop")  # all six partitions are read
    site.until(lambda: not running(frozen), "the freeze")
    twin = site.start()
    with site.feeding(per_second=300):
        site.until(lambda: site.stored() > 0, "work of the twin")
        frozen.send_signal(signal.SIGCONT)
        site.until(lambda: not running(frozen), "its claim, or that it gave way")
        before = site.stored()
        time.sleep(2.0)  # of work: some checkpoints, unless the twin is out by now
        twin.kill()
        twin.wait()
        frozen.send_signal(signal.SIGCONT)
        site.until(lambda: site.stored() > before or not running(frozen), "work of the one that was frozen, or that it gave way")
    assert site.stop(frozen) == 0 or "another live process is instance w1" in site.log(0), site.log(0)
    finish(site)
    check(site)


def test_a_spare_worker_takes_over_after_any_time(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker for which no partition is left has nothing to fetch, for days, and is there when another one ends."""
    monkeypatch.setattr(sites, "PARTITIONS", 1)
    with open_site(servers, tmp_path, kafka={"partitions": 1, "session_timeout_seconds": 6.0}) as site:
        workers = [site.start(instance=f"w{number}", idle_seconds=86_400.0) for number in range(4)]

        def spares() -> list[int]:
            shares = [re.findall(r"(\d+) partitions taken over", site.log(number)) for number in range(4)]
            return [number for number, counts in enumerate(shares) if all(shares) and counts[-1] == "0"]

        site.until(lambda: len(spares()) == 1, "one of four workers without any of three partitions")
        spare = spares()[0]
        time.sleep(4.0)  # some heartbeats of a client that has been idle for too long
        for number, worker in enumerate(workers):
            if number != spare:
                worker.kill()
        site.send(120)
        site.end_channels()
        site.until(lambda: site.done() and not site.missing_verdicts(), "the end, by the spare worker")
        assert site.stop(workers[spare]) == 0, site.log(spare)
        check(site)


def test_a_keyed_step_that_raises_ends_the_worker_and_commits_nothing(site: Site) -> None:
    """The next worker, with the fault cured, folds all of it."""
    site.send(200)
    site.send(1, values=iter([f"boom,0,{1_760_000_000_000}"]))
    site.send(200)
    assert site.start(raises=True).wait(PATIENCE_SECONDS) == 1
    assert "stage counts raised" in site.log()
    finish(site)
    check(site)


def test_silence_closes_the_last_window(servers: Settings, tmp_path: Path) -> None:
    """No further record comes, and the last cases are judged all the same."""
    with open_site(servers, tmp_path, time={"idle_seconds": 1}) as site:
        site.send(120)
        worker = site.start()
        site.until(lambda: not site.missing_verdicts(), "the verdicts")
        assert site.stop(worker) == 0
        check(site)
