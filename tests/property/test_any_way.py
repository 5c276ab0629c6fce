"""Each story, and behind it lines of all sources, read in any way within grace: the same canonical bodies.

    in order, each record by itself                                             ->  findings, verdicts and incidents   =  base
    displaced by up to a grace, in batches of any size, with restarts between       =  base, byte for byte
    partition after partition, each far ahead of those that wait, likewise          =  base, byte for byte

Some stories are of a site that ships little: of the other sources the first word comes behind the story.
"""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.model.outcome import Record
from pipeline.runtime.local import Results
from pipeline.settings import Settings
from tests import build
from tests.property.durable import Restarted
from tests.property.test_determinism import spread_out, uneven
from tests.property.test_each_detector import HOUR, QUIET_HOURS, SERIALS, heard
from tests.scenario.lines import Site, ship
from tests.scenario.test_scenarios import STORIES, lines_of, settings_of, story_in

MOMENTS = 6
SIZES = (1, 7, 60, 1_000)
RESTARTS = 6  # of a story, about
WAITING_SIZES = (7, 60)  # a story read at once would forget nothing


class Told(NamedTuple):
    """A story with what is heard behind it, and what comes of it in order."""

    settings: Settings
    records: Sequence[Record]
    base: Results


@cache
def told(path: Path) -> Told:
    """Made once per process."""
    lines, site = list(lines_of(story_in(path))), Site(SERIALS)
    last = max(line.at for line in lines)
    for number in range(1, MOMENTS + 1):
        lines += heard(site, last + number * QUIET_HOURS * HOUR)
    settings, records = build.settings(**settings_of(story_in(path))), list(ship(lines))
    return Told(settings, records, read(settings, records, 1))


def read(
    settings: Settings, records: Sequence[Record], partitions: int, dice: random.Random | None = None, *, waiting: bool = False
) -> Results:
    """Through the whole pipeline: without dice one by one; `waiting`: from a broker that holds all of it."""
    runtime, at = Restarted(settings, partitions), 0
    if waiting:
        runtime.expect(records)
    while at < len(records):
        size = dice.choice(WAITING_SIZES if waiting else SIZES) if dice else 1
        runtime.feed(records[at : at + size])
        runtime.checkpoint()
        at += size
        if dice and dice.random() * len(records) < RESTARTS * size:
            runtime.restart()
    return runtime.finish()


def assert_same(results: Results, base: Results) -> None:
    assert results.canonical_findings() == base.canonical_findings()
    assert results.canonical_verdicts() == base.canonical_verdicts()
    assert results.canonical_incidents() == base.canonical_incidents()


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_may_be_read_in_any_way(path: Path) -> None:
    """What is said last depends on what was read, and on nothing else."""
    story, dice = told(path), random.Random(path.stem)
    assert_same(read(story.settings, spread_out(story.settings, story.records, 2, dice), 2, dice), story.base)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_partitions_of_a_story_may_be_read_at_any_speed(path: Path) -> None:
    """What is not read yet holds all windows open, and nothing is forgotten that it may ask for."""
    story, dice = told(path), random.Random(path.stem)
    spread = uneven(story.records, 2, len(story.records), dice)
    assert_same(read(story.settings, spread, 2, dice, waiting=True), story.base)
