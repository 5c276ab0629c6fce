"""Of each detector: what its stories find does not depend on the order of arrival, on repetition, or on evidence that comes days late.

    a story in order                                            ->  canonical findings and verdicts   =  base
    shuffled | displaced by a day | some records twice          =  base, byte for byte
    some of it a day or two behind all the rest, which was judged without it: revised, taken back, raised     =  base

The story is the shortest in which the detector raises an alert.  What is late is late as a whole: the records of one audit event leave
their host together, and what a line says in parts is put together within the hour only.  What is late by more than two days may find that
of many loads of the same bytes the first and the last alone are known (artefacts/step.py).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.detector import registry
from pipeline.model.outcome import Record
from pipeline.runtime.local import LocalRuntime
from tests import build
from tests.property.profile import examples
from tests.scenario.lines import TOPICS, Line, Site, ship
from tests.scenario.test_scenarios import STORIES, lines_of, settings_of, story_in

EACH = pytest.mark.parametrize("detector", [each.meta.id for each in registry()])
HOUR = 3600
QUIET_HOURS = 6  # at which something is heard of every source behind a story
DAYS = 16  # of so many such moments
LATE_HOURS = 40
SERIALS = 100_000  # of audit events of that time: of one host none comes twice


class Told(NamedTuple):
    """A story, and the quiet days behind it."""

    settings: Mapping[str, Any]
    story: Sequence[Record]
    days: Sequence[Record]


@cache
def told(detector: str) -> Told:
    """The shortest story in which the detector raises an alert."""
    alerting = [story_in(path) for path in STORIES if _alerts(story_in(path), detector)]
    story = min(alerting, key=lambda each: (sum(1 for _ in lines_of(each)), each["title"]))
    lines, site = list(lines_of(story)), Site(SERIALS)
    last = max(line.at for line in lines)
    days = [heard(site, last + number * QUIET_HOURS * HOUR) for number in range(1, DAYS + 1)]
    records = list(ship([*lines, *(line for day in days for line in day)]))
    ends = build.ms(last + (QUIET_HOURS - 1) * HOUR)
    return Told(
        settings_of(story), [each for each in records if each.timestamp < ends], [each for each in records if each.timestamp >= ends]
    )


def _alerts(story: Mapping[str, Any], detector: str) -> bool:
    return any(each["detector"] == detector and each.get("alert") for each in story["expect"].get("findings", ()))


def heard(site: Site, at: float) -> list[Line]:
    """An ordinary line of every source."""
    of_hosts = site.hum(at, ["slurmctld", "auditd", "kernel", "sshd"])
    return [*of_hosts, *site.error(at, "999999"), *site.start(at, "999998", nodes="gpu-777")]


def run(settings: Mapping[str, Any], records: Sequence[Record], partitions: int = 1, every: int = 20) -> LocalRuntime:
    """Through the whole pipeline, with a checkpoint every so many records."""
    runtime = LocalRuntime(build.settings(**settings), partitions)
    for at in range(0, len(records), every):
        runtime.feed(records[at : at + every])
        runtime.checkpoint()
    runtime.finish()
    return runtime


@cache
def base(detector: str) -> dict[str, dict[str, bytes]]:
    """What is said when everything comes once and in order."""
    settings, story, days = told(detector)
    found = said(run(settings, [*story, *days]))
    bodies = map(orjson.loads, found["findings"].values())
    assert any(body["detector"] == detector and body["alert"] for body in bodies)
    return found


def said(runtime: LocalRuntime) -> dict[str, dict[str, bytes]]:
    return {"findings": runtime.results.canonical_findings(), "verdicts": runtime.results.canonical_verdicts()}


def late(records: Sequence[Record], share: float, dice: random.Random) -> Iterator[tuple[float, Record]]:
    """When each arrives; what one file got at one moment, together.  One at least is late."""
    groups: dict[tuple[int, tuple[tuple[str, bytes], ...]], list[Record]] = {}
    for each in records:
        where = tuple(header for header in each.headers if header[0] in ("host", "file"))
        groups.setdefault((each.timestamp, where), []).append(each)
    surely = dice.choice(sorted(groups))
    for name, group in groups.items():
        delay = dice.uniform(0, LATE_HOURS * HOUR * 1000) if name == surely or dice.random() < share else 0
        yield from ((each.timestamp + delay, each) for each in group)


@EACH
@examples(2)
@given(seed=st.integers(0, 2**32), partitions=st.integers(1, 4), hours=st.sampled_from((0.02, 2, 24)), share=st.sampled_from((0, 0.5)))
def test_neither_order_nor_repetition_matters(detector: str, seed: int, partitions: int, hours: float, share: float) -> None:
    """Records displaced by up to so many hours, over some partitions; a share of them twice, at once or later."""
    dice, (settings, story, days) = random.Random(seed), told(detector)
    every = [*story, *days]
    every += [each for each in every if dice.random() < share]
    shuffled = sorted(every, key=lambda each: each.timestamp + dice.uniform(0, hours * HOUR * 1000))
    spread = [msgspec.structs.replace(each, partition=dice.randrange(partitions)) for each in shuffled]
    assert said(run(settings, spread, partitions, dice.choice((7, 50)))) == base(detector)


@EACH
@examples(3)
@given(seed=st.integers(0, 2**32), share=st.sampled_from((0, 0.02, 0.1, 0.5, 1)), stream=st.sampled_from(("", *TOPICS.values())))
def test_late_evidence_leads_to_what_would_have_been_said(detector: str, seed: int, share: float, stream: str) -> None:
    """A share of the story, or of one stream of it, comes up to two days behind the rest, which is judged meanwhile."""
    dice, (settings, story, days) = random.Random(seed), told(detector)
    some = [each for each in story if each.topic == stream] or story
    others = [each for each in story if each not in some]
    arriving = sorted([*late(some, share, dice), *((each.timestamp, each) for each in [*others, *days])], key=itemgetter(0))
    assert said(run(settings, [each for _, each in arriving], every=dice.choice((5, 20)))) == base(detector)
