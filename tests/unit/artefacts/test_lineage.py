"""What is worth telling of a load is the same in whatever order the artefact learns of it, and for a judge who was told more.

all that is known    a save(1) save(2) write(3) load(b)      worth telling: save(2) write(3)
a judge was told           save(1) save(2) write(3)          worth telling: save(2) write(3)
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pipeline.detect import lineage as lineage_module
from pipeline.detect.lineage import FOREIGN_MAX, SAVES_MAX, WRITES_MAX, Before, History
from pipeline.model.events import Event, FileTouched
from pipeline.model.facts import job_case
from pipeline.model.told import ArtefactUse, decode_told
from tests import build
from tests.build import CLUSTER, COLLEAGUE, DAY, HOOK, JOB, MODULE, OWNER, PATH, WRITER, hook, imported, load, save, to_artefact, write
from tests.unit.artefacts.test_step import Artefacts, to_module

SHARD = "/data/shard-3.npz"
ROOTS: tuple[dict[str, Any], ...] = ({"path": "/ckpt", "writers": ("u070",)}, {"path": "/data", "kind": "dataset", "owner": "u070"})
SITE = build.site(artefact_roots=ROOTS)
DONE: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {},
    {"action": "attributes"},
    {"success": False},
    {"action": "renamed"},
    {"file_uid": COLLEAGUE},
)
PEOPLE = (COLLEAGUE, WRITER, OWNER, build.OTHER)


def any_history(dice: random.Random, most: int = 24) -> list[Event]:
    """Saves, loads and writes of one path by whoever, near to one another or over months; the last is a load."""
    path = dice.choice([MODULE, HOOK, PATH, SHARD])
    span, writes = dice.choice([30, 200, 200, 40 * DAY, 120 * DAY]), dice.choice([0.3, 0.5, 0.8])
    found: list[Event] = []
    for at in (dice.randrange(10, span) for _ in range(dice.randint(4, most))):  # some at one time
        job, sha = dice.choice(["6", "8", "9", JOB]), dice.choice("abc")
        if dice.random() < writes:
            found.append(write(at, dice.choice(PEOPLE), path=path, **dice.choice(DONE)))
        elif path not in (MODULE, HOOK) and dice.random() < 0.4:
            found.append(save(at, sha, path=path, job=job, uid=dice.choice([OWNER, COLLEAGUE])))
        else:
            found.append(_load(dice, at, sha, path, job))
    return [*found, _load(dice, span + 100, "b", path, JOB)]


def _load(dice: random.Random, at: float, sha: str, path: str, job: str) -> Event:
    if path == MODULE:
        return imported(at, sha, job=job, path=path, cached=dice.choice(["", "", "", "1", "2"]))
    return hook(at, sha, job=job) if path == HOOK else load(at, sha, path=path, job=job)


def lineage(events: list[Event], of: Event) -> Before:
    """What is worth telling of a load, if these are known."""
    path = getattr(of.body, "path", "")
    history = History(of_dataset=path == SHARD)
    for event in events:
        history.add(event, b"", event.id, foreign=SITE.is_foreign(event, path))
    known = history.known(of.id)
    assert known is not None
    return history.before(known)


def test_who_was_told_more_sees_the_same() -> None:
    """A part of all that is known, in which nothing is missing that is worth telling."""
    dice, worth = random.Random(3), 0
    for _ in range(300):
        events = any_history(dice)
        told = lineage(events, events[-1])
        names = {each.name for each in told.every()} | {events[-1].id}
        some = [event for event in events if event.id in names or dice.random() < 0.5]
        assert lineage(some, events[-1]) == told
        worth += len(names) > 2
    assert worth > 100


def altered_history(dice: random.Random) -> list[Event]:
    """Of a module or shard, with few writes: of other bytes some records say by whom."""
    path, span, found = dice.choice([MODULE, SHARD]), dice.choice([200, 40 * DAY, 120 * DAY]), []
    for at in (dice.randrange(10, span) for _ in range(dice.randint(4, 12))):
        if dice.random() < 0.4:
            found.append(write(at, dice.choice([COLLEAGUE, COLLEAGUE, WRITER]), path=path, **dice.choice(DONE)))
        else:
            found.append(_load(dice, at, dice.choice("abcd"), path, dice.choice(["6", "8", "9", JOB])))
    return [*found, _load(dice, span + 100, "b", path, JOB)]


def test_whence_the_bytes_came_before_a_foreign_write_is_seen_alike_by_who_was_told_more() -> None:
    """The load of the bytes before, and the first of those that came after them, where no record tells of a write between."""
    dice, seen = random.Random(5), 0
    for _ in range(400):
        events = altered_history(dice)
        told = lineage(events, events[-1])
        names = {each.name for each in told.every()} | {events[-1].id}
        some = [event for event in events if event.id in names or dice.random() < 0.5]
        assert lineage(some, events[-1]) == told
        seen += told.altered is not None
    assert seen > 10


MANY = (WRITES_MAX, FOREIGN_MAX)


@pytest.mark.parametrize(
    ("make", "bounds"),
    [(partial(any_history, most=16), MANY), (altered_history, MANY), (altered_history, (2, 2))],
    ids=["any", "altered", "altered, of many writes"],
)
def test_whatever_comes_last_everything_worth_telling_is_told(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[random.Random], list[Event]], bounds: tuple[int, int]
) -> None:
    """In any order each load hears of it, whatever it was told before; also where there are more writes than are told."""
    monkeypatch.setattr(lineage_module, "WRITES_MAX", bounds[0])
    monkeypatch.setattr(lineage_module, "FOREIGN_MAX", bounds[1])
    dice = random.Random(4)
    for _ in range(120):
        events = make(dice)
        path = getattr(events[-1].body, "path", "")
        artefacts = Artefacts(roots=ROOTS)
        facts = [(event, to_module(event)[0] if path in (MODULE, HOOK) else to_artefact(event, path)) for event in events]
        dice.shuffle(facts)
        artefacts.take(*(fact for _, fact in facts))
        by_fact = {fact.id: event for event, fact in facts}  # of a job's ranks' words of a day the first
        (history,) = artefacts.state.histories.values()
        for fact_id in by_fact:
            known = history.known(fact_id)
            assert known is not None
            if known.event.job and not isinstance(known.event.body, FileTouched):
                uses = [decode_told(body) for _, body in artefacts.said.of(job_case(CLUSTER, known.event.job)).values() if body]
                told = {use.before.id for use in uses if isinstance(use, ArtefactUse) and use.before and use.load.id == known.event.id}
                if known in history.loads:
                    assert {each.event.id for each in history.before(known).every()} <= told


def test_however_often_it_was_written_since_the_first_write_behind_other_bytes_is_told() -> None:
    """Else what somebody printed between it and the others would seem to have been there before."""
    writes = [write(20, path=MODULE), *(write(30 + at, path=MODULE) for at in range(FOREIGN_MAX + 1))]
    events = [imported(10, "a", job="6"), imported(25, job="66"), *writes, imported(90)]
    told = lineage(events, events[-1])
    assert told.other is not None
    assert {writes[0].id, writes[-1].id, events[0].id} <= {each.name for each in told.every()}
    first = [imported(10, "a", job="6"), imported(15, job="66"), *writes, imported(90)]
    assert lineage(first, first[-1]).other is None


def test_what_jobs_say_they_saved_leaves_the_last_write_before_in_sight() -> None:
    """Until who may not has written since."""
    events = [write(20), write(30), save(40, "c", job="66"), load(90)]
    told = lineage(events, events[-1])
    assert (told.writes, told.overwritten and told.overwritten.event) == ([], events[1])
    assert lineage([*events, write(50)], events[-1]).overwritten is None


def test_whoever_says_that_he_saved_it_pushes_out_no_word_of_the_loading_job() -> None:
    """Of the others the newest are told."""
    others = [save(40 + at, "c", job=f"{60 + at}") for at in range(SAVES_MAX + 3)]
    for own in (save(20), save(45.5)):
        told = [each.event for each in lineage([own, *others, load(90)], load(90)).saves]
        assert told == sorted([own, *others[-SAVES_MAX + 1 :]], key=lambda each: each.event_time)
