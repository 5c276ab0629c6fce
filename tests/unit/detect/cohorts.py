"""One-line members of cohorts: attempts of one configuration, with or without bytes that a colleague wrote."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec

from pipeline.detect.cohort import Cohort
from pipeline.detect.detector import registry
from pipeline.model.finding import Checked, Evidence, Finding
from pipeline.model.source import Source
from pipeline.model.summary import Exposure, JobSummary, Pace, Step
from pipeline.model.told import Attempt
from pipeline.stream.watermark import Buckets, Watermarks, bucket_of
from tests import build
from tests.build import answer

HOUR, DAY = 3_600_000, 86_400_000
T0 = build.T0
FILE = "/shared/env/train/loss.py"
WRITER = "u099"


def cited(role: str, name: str, time: int, source: str) -> Evidence:
    """A record."""
    return Evidence(role, f"{role}-{name}", "0" * 64, source, time, role)


def exposure(
    job: str, *, writer: str = WRITER, path: str = FILE, written: int = T0, loaded: int = T0, sha256: str = "b", restored: bool = False
) -> Exposure:
    """The job loaded what the writer had written."""
    write, load = cited("written", f"{writer}{path}", written, "auditd"), cited("loaded", f"{job}{path}", loaded, "probe")
    return Exposure(path, writer, written, write, load, sha256, restored)


def member(number: int, *, exposed: bool | Sequence[Exposure] = False, **changes: Any) -> JobSummary:
    """Attempt `number` of a configuration, a day after the one before it; the write came before the first."""
    job, start = str(48_000 + number), T0 + number * DAY
    exposures = (exposure(job, loaded=start),) if exposed is True else tuple(exposed or ())
    value = JobSummary(
        attempt=Attempt("main", job, start - HOUR, start),
        owner="u017" if number // 2 % 2 else "u018",
        configuration="c1",
        gpus=512,
        nodes=(f"gpu-{number % 7:03d}", f"gpu-{number % 5 + 100:03d}"),
        end=start + 20 * HOUR,
        state="COMPLETED",
        verdict="benign",
        cause="completed",
        seen=start + 20 * HOUR,
        record=cited("run", job, start + 20 * HOUR, "slurm_jobcomp"),
        pace=None,
        steps=(),
        exposures=exposures,
    )
    return msgspec.structs.replace(value, **changes)


def paced(number: int, mean: float, *, exposed: bool | Sequence[Exposure] = False, **changes: Any) -> JobSummary:
    """A member whose steps took so many ms."""
    job, start = str(48_000 + number), T0 + number * DAY
    pace = Pace(40, mean, mean, cited("step", f"{job}-first", start, "training"), cited("step", f"{job}-slow", start + HOUR, "training"))
    return member(number, exposed=exposed, **{"pace": pace, **changes})


def learned(number: int, losses: Iterable[float], *, exposed: bool | Sequence[Exposure] = False, **changes: Any) -> JobSummary:
    """A member with these losses at steps 100, 200 ..."""
    job, start = str(48_000 + number), T0 + number * DAY
    steps = tuple(
        Step(100 * place, loss, 3e-4, cited("step", f"{job}-{place}", start + place * HOUR, "training"))
        for place, loss in enumerate(losses, start=1)
    )
    return member(number, exposed=exposed, **{"steps": steps, **changes})


def ended(number: int, *, bad: bool, exposed: bool | Sequence[Exposure] = False, **changes: Any) -> JobSummary:
    """A member that ended without explanation, or well."""
    how = {"verdict": "unexplained", "cause": "no_record", "state": "FAILED"} if bad else {}
    return member(number, exposed=exposed, **{**how, **changes})


def own(members: Sequence[JobSummary]) -> list[JobSummary]:
    """The same members; no record says that the file was anybody's but the writer's."""
    exposures = (tuple(msgspec.structs.replace(mine, own=True) for mine in each.exposures) for each in members)
    return [msgspec.structs.replace(each, exposures=mine) for each, mine in zip(members, exposures, strict=True)]


def beside(members: Iterable[JobSummary], writer: str = "u088") -> list[JobSummary]:
    """The same, that loaded what another had written as well."""
    return [
        msgspec.structs.replace(each, exposures=(*each.exposures, exposure(each.attempt.job, writer=writer, path="/shared/b.py")))
        for each in members
    ]


def told(members: Iterable[JobSummary], **changes: Any) -> list[JobSummary]:
    """The same with other words on how they went."""
    return [msgspec.structs.replace(each, **changes) for each in members]


@cache
def heard(since: int = -100, until: int = 200) -> Watermarks:
    """The kernels' logs, every hour of these days."""
    buckets = Buckets(build.BUCKET_MS)
    for hour in range(24 * since, 24 * until):
        buckets.add(bucket_of(T0 + hour * HOUR, build.BUCKET_MS))
    return Watermarks({("main", Source.KERNEL): (T0 + 200 * DAY, T0 + 200 * DAY)}, {("main", Source.KERNEL): buckets}, build.BUCKET_MS)


def judge(detector: str, members: Iterable[JobSummary], kind: str = "configuration", now: Watermarks | None = None) -> list[Finding]:
    """What a detector says of a cohort."""
    (found,) = [each for each in registry("cohort") if each.meta.id == detector]
    return list(found.judge(Cohort(build.site(), "main", f"{kind}/x", members), now or heard()))


def told_of_several(found: Sequence[Finding]) -> None:
    """An alert for each of two hands, on the same acts: either may have done it, and nobody is suspected."""
    assert len(found) == 2
    for finding in found:
        assert (finding.alert, finding.actor, finding.suspect) == (True, "", "")
        assert "several identities" in finding.actor_withheld
        assert answer(finding, "other_writers").answer is Checked.NOT_CHECKED
    assert {item.event_id for item in found[0].evidence} == {item.event_id for item in found[1].evidence}
