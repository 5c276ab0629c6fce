"""A cold start: a job that ran before we listened is known by the scheduler's list, judged like any other, and says since when there is
history."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.model.outcome import Record
from pipeline.runtime.bootstrap import ColdStart, Options, read_lists
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.settings import SourceSettings
from tests import build
from tests.build import COLLEAGUE, HOST, JOB, OWNER, ms
from tests.scenario.lines import Site, iso, ship

TAKEN = 3_600  # seconds after the job's start
DIES = 7_200
HEARD = ("slurmctld", "auditd", "kernel")


def listed(tmp_path: Path, start: float = 0, state: str = "RUNNING", taken: float = TAKEN) -> ColdStart:
    """What squeue says of the job."""
    path = tmp_path / "squeue.txt"
    times = f"{iso(start - 60)}+0000|{iso(start)}+0000" if state == "RUNNING" else f"{iso(start - 60)}+0000|N/A"
    nodes = HOST if state == "RUNNING" else ""
    path.write_text(f"{JOB}|{JOB}|u012|{OWNER}|llm|gpu|normal|{state}|{times}|1-00:00:00|{nodes}|gres:gpu:8|/lustre/u012|pretrain\n")
    return read_lists([path], Options(taken=ms(taken)), build.settings())


def story(since: float, *, start: bool) -> list[Record]:
    """A colleague kills a rank; of all lines those that were written when somebody listened."""
    site = Site()
    lines = [*(site.start(0) if start else ()), *site.rank_failed(DIES + 1), *site.kill(DIES, by=COLLEAGUE)]
    lines += site.end(DIES + 3, state="FAILED", signal=9)
    for at in range(-4_200, DIES + 10_800, 300):
        lines += site.hum(at, HEARD)
    return list(ship(line for line in lines if line.at >= since))


def run(records: list[Record], partitions: int = 1, *, shuffled: bool = False) -> Results:
    runtime = LocalRuntime(build.settings(), partitions)
    if shuffled:  # within what shippers do to one another: each three records the other way round
        records = [each for at in range(0, len(records), 3) for each in reversed(records[at : at + 3])]
    for at in range(0, len(records), 40):
        runtime.feed(records[at : at + 40])
        runtime.checkpoint()
    return runtime.finish()


def notes(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in body["checklist"] if item["name"] == "history_begins"]


def test_a_job_that_ran_before_is_known(tmp_path: Path) -> None:
    """The kill that befalls it finds the job, its owner and its end; finding and verdict cite the list for since when there is history."""
    cold = listed(tmp_path)
    results = run([*cold.records, *story(TAKEN, start=False)])
    (finding,) = [body for body in results.findings.values() if body["detector"] == "p01_foreign_kill"]
    assert (finding["actor"], finding["owner"], finding["status"]) == ("u099", "u012", "final")
    (verdict,) = results.verdicts.values()
    assert (verdict["verdict"], verdict["owner"]) == ("interference", "u012")
    for body in (finding, verdict):
        (note,) = notes(body)
        assert note["note"] == "history begins at 2026-03-02T01:00:00Z: nothing before it was read"
        assert note["answer"] == "not_checked"
        assert note["by"]


def test_without_the_list_the_running_job_is_not_known_until_it_ends(tmp_path: Path) -> None:
    """What the list is for: before the end record nobody can say whose process was killed."""
    until_end = [record for record in story(TAKEN, start=False) if record.timestamp < ms(DIES + 3)]
    before = LocalRuntime(build.settings())
    before.feed(until_end)
    before.checkpoint()
    after = LocalRuntime(build.settings())
    after.feed([*listed(tmp_path).records, *until_end])
    after.checkpoint()
    enriched = [runtime.results.published.get("enriched", 0) for runtime in (before, after)]
    assert enriched[0] < enriched[1]


def test_history_that_is_whole_is_not_spoken_of(tmp_path: Path) -> None:
    """A job that starts when somebody listens has no note, whether the list knew it as waiting or not at all."""
    lines = story(-9_999, start=True)
    waiting = listed(tmp_path, state="PENDING", taken=-30)
    assert waiting.jobs[0].start is None
    for records in (lines, [*waiting.records, *lines]):
        results = run(records)
        (verdict,) = results.verdicts.values()
        assert verdict["verdict"] == "interference"
        assert not any(notes(body) for body in [*results.findings.values(), verdict])


def test_the_same_in_any_order_and_over_partitions(tmp_path: Path) -> None:
    """The list may come twice, late, or be spread; bodies are the same, byte for byte."""
    cold, lines = list(listed(tmp_path).records), story(TAKEN, start=False)
    straight = run([*cold, *lines])
    other = run([*lines[:30], *cold, *lines[30:], *cold], 4, shuffled=True)
    assert straight.canonical_findings() == other.canonical_findings()
    assert straight.canonical_verdicts() == other.canonical_verdicts()


def test_nobody_waits_for_the_list(tmp_path: Path) -> None:
    """It holds back no watermark: windows close as if it had never come."""
    cold = run([*listed(tmp_path).records, *story(TAKEN, start=False)])
    assert {body["status"] for body in cold.verdicts.values()} == {"final"}
    assert cold.dead_letters == []


def test_zone_and_cluster_are_those_of_the_source(tmp_path: Path) -> None:
    """Settings find them by program; --zone wins."""
    path = tmp_path / "list"
    path.write_text(f"{JOB}|{JOB}|u012|{OWNER}|llm|gpu|n|RUNNING|2026-03-02T08:00:00|2026-03-02T08:01:00|1:00|{HOST}||/|n\n")
    source = SourceSettings(name="east", program="east", cluster="east", zone="Asia/Shanghai")
    settings = build.settings(sources=(source,))
    read = read_lists([path], Options(taken=ms(TAKEN), program="east"), settings)
    assert (read.cluster, read.jobs[0].start) == ("east", ms(60))
    (record,) = read.records
    assert json.loads(record.value or b"")["job"]["start"] == ms(60)
    assert (record.key, record.timestamp, dict(record.headers)["source"]) == (JOB.encode(), ms(TAKEN), b"east")
    assert read_lists([path], Options(taken=ms(TAKEN)), settings).cluster == "main"


@pytest.mark.parametrize("count", [1, 2])
def test_lists_add_up(tmp_path: Path, count: int) -> None:
    """Of several files, each by its own kind."""
    path = tmp_path / "squeue.txt"
    one = listed(tmp_path)
    assert len(read_lists([path] * count, Options(taken=ms(TAKEN)), build.settings()).records) == count * len(one.records)
