"""What anybody may have sent takes no place in an artefact's history: a known sender's load is told what it would be told without it.

save(a)@10   write by u099 @40   save(b) or load(c) by anybody @50   load(b)@90     ->  as without @50, and with it
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pytest

from pipeline.artefacts.step import build_state
from pipeline.detect.case import Case
from pipeline.detect.detector import registry
from pipeline.detect.lineage import FOREIGN_MAX, SAVES_MAX, WRITES_MAX, History
from pipeline.jobs.index import JobIndex
from pipeline.model.events import Event
from pipeline.model.finding import canonical
from pipeline.model.told import ArtefactUse, decode_told
from tests import build
from tests.build import (
    CLUSTER,
    COLLEAGUE,
    DAY,
    HOOK,
    JOB,
    MODULE,
    PATH,
    WRITER,
    hook,
    imported,
    load,
    now,
    save,
    to_artefact,
    unproven,
    write,
)
from tests.unit.artefacts.test_lineage import ROOTS, SHARD, SITE, any_history
from tests.unit.artefacts.test_step import Artefacts, to_module

JUDGES = [each for each in registry("job") if each.meta.id[:3] in ("p04", "p05", "p06", "p11")]


def case_of(events: Iterable[Event]) -> Case:
    """What the job of the loads is told by known senders, one by one in this order."""
    artefacts, index = Artefacts(), JobIndex(CLUSTER, JOB, 10_000)
    artefacts.state = build_state(build.settings(artefact_roots=ROOTS), artefacts.cases)
    for each in events:
        path = getattr(each.body, "path", "")
        artefacts.take(*(to_module(each) if path in (MODULE, HOOK) else [to_artefact(each, path)]))
    index.add("start", build.allocation())
    for fact in artefacts.said.facts():
        told = decode_told(fact.body) if fact.body and fact.case.endswith(f"\x1f{JOB}".encode()) else None
        if isinstance(told, ArtefactUse) and not (told.load.unproven or (told.before is not None and told.before.unproven)):
            index.add(fact.id, told)
    (case,) = index.cases(SITE)
    return case


def said(case: Case) -> list[bytes]:
    """What is found in it."""
    return sorted(canonical(finding) for each in JUDGES for finding in each.judge(case, now()))


def accused(body: bytes) -> tuple[int, bool, str]:
    """When the write was, whether people are alerted, and who is named."""
    said_so = orjson.loads(body)
    return said_so["cause_time"], said_so["alert"], said_so["actor"]


WRITTEN = {
    MODULE: [imported(10, "a", job="6"), write(40, path=MODULE), imported(90)],
    HOOK: [hook(10, "a", job="6"), write(40, path=HOOK, file_uid=COLLEAGUE), hook(90)],
    PATH: [save(10, job="6"), write(40), load(90)],
    SHARD: [load(10, "a", path=SHARD, job="6"), write(40, path=SHARD), load(90, path=SHARD)],
}
FORGED: dict[str, list[Event]] = {
    "other bytes of a module behind the write": [imported(50, "c", job="66")],
    "other bytes of a module before the write": [imported(39, "c", job="66")],
    "these bytes of a module from before": [imported(5, "b", job="66"), imported(20, "b", job="66")],
    "a module by who may": [write(60, WRITER, path=MODULE)],
    "many writes of a module": [write(41 + at, 5000 + at, path=MODULE) for at in range(20)],
    "other bytes of a hook": [hook(50, "c", job="66")],
    "saves of a checkpoint": [save(50 + at, "b", job=f"{60 + at}") for at in range(2 * SAVES_MAX)],
    "writes of a checkpoint": [write(41 + at / 10, WRITER) for at in range(WRITES_MAX + 10)],
    "other bytes of a shard": [load(50, "c", path=SHARD, job="66")],
    "saves of a shard": [save(5, "b", path=SHARD, job="66"), save(60, "b", path=SHARD, job="67")],
}  # fmt: skip


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("last", [False, True])
def test_a_forged_history_hides_nothing(forged: list[Event], *, last: bool) -> None:
    """Told before or behind what is true: what known senders tell gives the same findings, word for word."""
    path = getattr(forged[0].body, "path", "")
    true, false = WRITTEN[path], [unproven(each) for each in forged]
    expected = said(case_of(true))
    assert len(expected) == 1
    assert said(case_of([*true, *false] if last else [*false, *true])) == expected


@pytest.mark.parametrize("done", [{"action": "attributes"}, {"action": "written", "success": False}])
@pytest.mark.parametrize(("path", "last"), [(MODULE, False), (PATH, False), (PATH, True), (SHARD, False), (SHARD, True)])
def test_a_write_is_not_hidden_behind_touches_that_leave_the_bytes(path: str, done: dict[str, Any], *, last: bool) -> None:
    """Whoever wrote sets the old times again and again, or opens what he may open no more."""
    true = WRITTEN[path]
    many = FOREIGN_MAX if path == MODULE else WRITES_MAX
    false = [write(41 + at / 10, path=path, **done) for at in range(many)]
    (expected,) = map(accused, said(case_of(true)))
    (found,) = map(accused, said(case_of([*true, *false] if last else [*true[:2], *false, *true[2:]])))
    assert found == expected
    assert expected[1]


def test_random_histories_with_and_without_forgers() -> None:
    """In random orders, the forged ones anywhere: known senders' words are judged as if there were no others."""
    dice, hits = random.Random(5), 0
    for _ in range(40):
        events = any_history(dice)
        doubted = [unproven(each) if dice.random() < 0.4 else each for each in events[:-1]]
        whole: Sequence[Event] = [*doubted, events[-1]]
        known = [each for each in whole if not each.unproven]
        expected = said(case_of(known))
        hits += bool(expected)
        for _ in range(2):
            dice.shuffle(known)
            assert said(case_of(known)) == expected
            mixed = list(whole)
            dice.shuffle(mixed)
            assert said(case_of(mixed)) == expected
    assert hits >= 10


def test_of_what_is_imported_alike_known_senders_imports_stay() -> None:
    """The first and the last of the same bytes are kept; forged ones have their own."""
    true = [imported(number, job=str(number)) for number in range(10, 20)]
    forged = [unproven(imported(number, job="66")) for number in (1, 50)]
    artefacts = Artefacts()
    artefacts.take(*to_module(*true, *forged, imported(5 * DAY, "c", job="99")), at=now(DAY))
    artefacts.take(at=now(6 * DAY))
    kept = [decode_told(body) for _, body in artefacts.cases.of(next(iter(artefacts.cases))).values()]
    assert sorted(each.event_time for each in kept if isinstance(each, Event) and not each.unproven) == [
        true[0].event_time, true[-1].event_time, build.ms(5 * DAY),
    ]  # fmt: skip


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("versions", [1, 300])
def test_a_flood_is_not_weighed_against_all_of_itself(versions: int, *, backwards: bool) -> None:
    """A job's output tells any bytes at any time, a thousand ranks tell the same: each line must cost about as much as the first."""
    events = [load(50 + at, f"{at % versions:x}", job=f"{at}") for at in range(300)]
    history, looked_at = History(), 0
    for each in reversed(events) if backwards else events:
        known = history.add(each, b"", each.id)
        assert known is not None
        looked_at += len(history.behind(known))
    assert looked_at < 4 * len(events)
