"""The history of one artefact: in whatever order its facts arrive, the judge sees the same saves and writes before each load.

save(a)@10    write by u099 @40    load(b)@90    ->  job of the load: (load), (save, load), (write, load)
"""

import random
from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any

import pytest

from pipeline.artefacts.step import ArtefactsState, build_state, step
from pipeline.detect.lineage import SAVES_MAX, WRITES_MAX
from pipeline.detect.rules import p06_checkpoint_tamper
from pipeline.ingest.facts import facts_of
from pipeline.jobs.index import JobIndex
from pipeline.model.events import Event, HookFound, ModuleImported
from pipeline.model.facts import Fact, artefact_case, job_case
from pipeline.model.finding import Finding, canonical
from pipeline.model.ids import rank
from pipeline.model.outcome import Tell
from pipeline.model.source import Source
from pipeline.model.told import ArtefactUse, decode_told
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING, Watermarks
from tests import build
from tests.build import (
    CLUSTER,
    COLLEAGUE,
    DAY,
    HOST,
    JOB,
    OTHER,
    OWNER,
    PATH,
    WRITER,
    allocation,
    fact,
    load,
    now,
    save,
    to_artefact,
    write,
)


class Artefacts:
    """One partition, driven by hand; `said` is what the jobs remember of it."""

    def __init__(self, facts: Iterable[Fact] = (), said: Cases | None = None, roots: Sequence[dict[str, Any]] | None = None) -> None:
        self.cases = Cases(facts)
        settings = build.settings() if roots is None else build.settings(artefact_roots=tuple(roots))
        self.state: ArtefactsState = build_state(settings, self.cases)
        self.said = said if said is not None else Cases()

    def take(self, *facts: Fact, at: Watermarks = NOTHING) -> int:
        """Fold facts; how many were told."""
        self.state, outcomes = step(self.state, facts, at)
        for out in outcomes:
            assert isinstance(out, Tell)
            assert out.stage == "jobs"
            self.said.merge(out.fact)
        return len(outcomes)

    def uses(self, job: str = JOB) -> list[tuple[str, str]]:
        """(load, what came before) by event id, sorted."""
        found = []
        for _, body in self.said.of(job_case(CLUSTER, job)).values():
            told = decode_told(body)
            assert isinstance(told, ArtefactUse)
            found.append((told.load.id, told.before.id if told.before else ""))
        return sorted(found)

    def seen(self) -> list[tuple[str, str, list[str]]]:
        """(load, its last save, the writes behind that): what the judge goes by."""
        uses = [decode_told(body) for _, body in self.said.of(job_case(CLUSTER, JOB)).values()]
        history: dict[str, list[tuple[int, str, str]]] = {}
        for use in uses:
            assert isinstance(use, ArtefactUse)
            known = history.setdefault(use.load.id, [])
            if use.before is not None:
                known.append((use.before.event_time, type(use.before.body).__name__, use.before.id))
        found = []
        for loaded, known in sorted(history.items()):
            saved = max((each for each in known if each[1] == "CheckpointSaved"), default=(0, "", ""))
            found.append((loaded, saved[2], [name for time, kind, name in sorted(known) if kind == "FileTouched" and time > saved[0]]))
        return found

    def judged(self) -> list[bytes]:
        """Canonical bodies of what P06 says of it."""
        index = JobIndex(CLUSTER, JOB, 10_000)
        index.add("start", allocation())
        for name, (_, body) in self.said.of(job_case(CLUSTER, JOB)).items():
            index.add(name, decode_told(body))
        (case,) = index.cases(build.site())
        found: list[Finding] = list(p06_checkpoint_tamper.judge(case, now()))
        return [canonical(each) for each in found]


def run(facts: Sequence[Fact]) -> Artefacts:
    """One by one."""
    artefacts = Artefacts()
    for each in facts:
        artefacts.take(each)
    return artefacts


HISTORY = [save(10, "a"), write(40), write(50, OTHER), load(90, "b"), save(120, "c"), load(150, "c")]
FACTS = [to_artefact(each) for each in HISTORY]


def test_each_load_is_told_its_saves_and_writes() -> None:
    """And itself alone, so that a load without history is known too; of one job's saves the last, and what was written behind it.

    Where nothing was, the last foreign write before; and the last load of other bytes.
    """
    first, one, other, loaded, second, again = (each.id for each in HISTORY)
    before = {loaded: ("", first, one, other), again: ("", second, other, loaded)}
    assert run(FACTS).uses() == sorted((each, known) for each, all_known in before.items() for known in all_known)


def test_in_every_arrival_order_the_judge_sees_the_same() -> None:
    """One by one in every order, and all at once."""
    base = run(FACTS)
    assert base.judged()
    for order in permutations(FACTS):
        found = run(order)
        assert (found.seen(), found.judged()) == (base.seen(), base.judged())
    at_once = Artefacts()
    at_once.take(*reversed(FACTS))
    assert at_once.seen() == base.seen()


def test_after_a_restart_anywhere_the_judge_sees_the_same() -> None:
    """The history is built again from the case."""
    base = run(FACTS)
    for at in range(len(FACTS)):
        before = run(FACTS[:at])
        again = Artefacts(before.cases.facts(), before.said)
        again.take(*FACTS[at:])
        assert again.seen() == base.seen()


def test_a_quiet_artefact_is_sealed_and_opened_for_a_late_load() -> None:
    """Its history is built again, and sealed again, until the retention ends."""
    case = artefact_case(CLUSTER, PATH)
    artefacts = Artefacts()
    artefacts.take(*FACTS[:5], at=now(DAY))
    assert not artefacts.cases.sealed(case)
    artefacts.take(at=now(4 * DAY))
    assert artefacts.cases.sealed(case)
    assert case not in artefacts.state.histories
    artefacts.take(FACTS[0], at=now(4 * DAY))
    assert case not in artefacts.state.histories, "what is told again as it was opens nothing"
    artefacts.take(FACTS[5], at=now(4 * DAY))
    assert artefacts.seen() == run(FACTS).seen()
    artefacts.take(at=now(6 * DAY))
    assert artefacts.cases.sealed(case)
    artefacts.take(at=now(92 * DAY))
    assert case not in artefacts.cases


def test_the_same_facts_again_tell_nothing() -> None:
    """A replay is silent."""
    artefacts = run(FACTS)
    assert artefacts.take(*FACTS) == 0


def test_a_write_that_grows_replaces_what_was_told_of_it() -> None:
    """A further audit record of the same event: higher rank, same id."""
    half, whole = (
        Fact(artefact_case(CLUSTER, PATH), "write", rank(number), fact(write(40, uid)).body) for number, uid in ((1, None), (2, OWNER))
    )
    for order in permutations([half, whole, to_artefact(load(90))]):
        artefacts = run(order)
        told = [decode_told(body) for _, body in artefacts.said.of(job_case(CLUSTER, JOB)).values()]
        writers = {getattr(each.before.body, "uid", None) for each in told if isinstance(each, ArtefactUse) and each.before}
        assert OWNER in writers


def test_the_job_of_the_load_is_told_whoever_saved() -> None:
    """A base model is saved by one job and loaded by many."""
    artefacts = run([to_artefact(each) for each in (save(10, job="1"), load(90, job="8"), load(95, job="9"))])
    assert (artefacts.uses("1"), len(artefacts.uses("8")), len(artefacts.uses("9"))) == ([], 2, 2)


def test_a_save_or_write_behind_the_load_is_no_part_of_it() -> None:
    """In either order."""
    for order in permutations([to_artefact(each) for each in (load(90), save(91), write(92))]):
        assert run(order).uses() == [(load(90).id, "")]


def test_files_are_told_apart() -> None:
    """One history per path."""
    other = "/ckpt/u012/step200.pt"
    artefacts = run([to_artefact(save(10)), to_artefact(load(90, path=other), other)])
    assert artefacts.uses() == [(load(90, path=other).id, "")]


def test_however_many_writes_there_are_the_judge_says_the_same() -> None:
    """What a load is told is bounded; the bound keeps the newest, and the judge looks at no more."""
    events: list[Event] = [save(number / 100, "a", job=f"{100 + number}") for number in range(SAVES_MAX + 5)]
    events += [write(40 + number / 10) for number in range(WRITES_MAX + 20)]
    facts = [to_artefact(each) for each in events]
    last = run([*facts, to_artefact(load(90))])
    first = run([to_artefact(load(90)), *facts])
    assert len(last.uses()) == 1 + SAVES_MAX + WRITES_MAX
    assert len(first.uses()) > len(last.uses())
    dice = random.Random(7)
    mixed = [*facts, to_artefact(load(90))]
    dice.shuffle(mixed)
    assert last.judged() == first.judged() == run(mixed).judged() != []


def test_however_many_jobs_say_they_saved_it_the_judge_says_the_same() -> None:
    """Some of them to launder a write: in any order of arrival the same saves and writes are weighed."""
    events: list[Event] = [save(10, "a", job="6"), write(40), write(45, OTHER), load(90, "b"), load(95, "b"), save(5, "a", job="4")]
    events += [save(20 + number, "bcd"[number % 3], job=f"{60 + number % 5}") for number in range(12)]
    facts = [to_artefact(each) for each in events]
    base = run(facts)
    assert base.judged()
    dice = random.Random(11)
    for _ in range(60):
        dice.shuffle(facts)
        assert run(facts).judged() == base.judged()


def test_an_artefact_of_which_nothing_was_heard_for_the_retention_is_forgotten() -> None:
    """By observed time only."""
    artefacts = run(FACTS)
    artefacts.take(at=now(200 * DAY, observed=DAY))
    assert len(artefacts.cases) == 1
    artefacts.take(at=now(80 * DAY))
    assert len(artefacts.cases) == 1
    artefacts.take(at=now(93 * DAY))
    assert len(artefacts.cases) == 0
    assert artefacts.take(to_artefact(load(93 * DAY))) == 1


# --- modules and hooks ------------------------------------------------------------------------------------------------------------

MODULE = "/ckpt/env/torch/nn.py"


def imported(at: float, sha: str = "a", *, job: str = JOB, host: str = HOST, cached: str = "") -> Event:
    """The probe says what bytes of the module a rank imported."""
    body = ModuleImported(job=job, module="torch.nn", path=MODULE, sha256=sha * 64, cached_sha256=cached * 64, host=host)
    return build.event(at, Source.PROBE, body, host=host, job=job)


def to_module(*events: Event) -> list[Fact]:
    """As ingest tells the module's history."""
    return [tell.fact for event in events for tell in facts_of(event, ("/ckpt/",)) if tell.stage == "artefacts"]


def before(artefacts: Artefacts, job: str = JOB) -> list[tuple[str, str]]:
    """(what the judge sees before the job's imports, whose job or who), sorted."""
    index = JobIndex(CLUSTER, job, 10_000)
    index.add("start", allocation(job=job))
    for name, (_, body) in artefacts.said.of(job_case(CLUSTER, job)).items():
        if body:
            index.add(name, decode_told(body))
    (case,) = index.cases(build.site())
    seen = [event for loaded in case.loaded(ModuleImported, HookFound) for event in (*loaded.writes, loaded.other) if event is not None]
    return sorted((type(event.body).__name__, event.job or str(getattr(event.body, "uid", ""))) for event in seen)


def changed(at: float, uid: int = COLLEAGUE) -> Event:
    return write(at, uid, path=MODULE)


OTHER_BYTES, BY_COLLEAGUE, WITH_LEAVE = ("ModuleImported", "6"), ("FileTouched", str(COLLEAGUE)), ("FileTouched", str(WRITER))
HISTORIES: dict[str, tuple[list[Event], list[tuple[str, str]]]] = {
    "alone": ([imported(90)], []),
    "the same bytes as everybody": ([imported(10, job="6"), imported(90)], []),
    "other bytes than before": ([imported(10, job="6"), imported(90, "b")], [OTHER_BYTES]),
    "other compiled bytes than before": ([imported(10, job="6", cached="1"), imported(90, cached="2")], [OTHER_BYTES]),
    "other bytes than later": ([imported(90), imported(95, "b", job="6")], []),
    "other bytes long before": ([imported(-8 * DAY, job="6"), imported(90, "b")], []),
    "other bytes long before, and a write since": (
        [imported(-60 * DAY, job="6"), changed(40), imported(90, "b")], [OTHER_BYTES, BY_COLLEAGUE],
    ),
    "other bytes long before, and the same before the write": (
        [imported(-60 * DAY, job="6"), imported(10, "b", job="8"), changed(40), imported(90, "b")], [BY_COLLEAGUE],
    ),
    "the same bytes behind others and before the write": (
        [imported(10, job="6"), imported(20, "b", job="8"), changed(40), imported(90, "b")], [BY_COLLEAGUE],
    ),
    "a write behind others, the same bytes, and another write": (
        [imported(10, job="6"), changed(15), imported(20, "b", job="8"), changed(40), imported(90, "b")],
        [OTHER_BYTES, BY_COLLEAGUE, BY_COLLEAGUE],
    ),
    "a write by who may not": ([changed(40), imported(90)], [BY_COLLEAGUE]),
    "a write by who may": ([changed(40, WRITER), imported(90)], []),
    "a write behind the import": ([imported(90), changed(95)], []),
    "a write before the bytes that others imported": (
        [imported(2, job="5"), changed(5, WRITER), imported(10, "c", job="6"), imported(90, "b")], [OTHER_BYTES],
    ),
    "a write before the first bytes that anybody imported": (
        [changed(5), imported(10, job="6"), imported(90, "b")], [BY_COLLEAGUE, OTHER_BYTES],
    ),
    "a write between others' bytes and these": (
        [imported(10, job="6"), changed(40), changed(50, WRITER), imported(90, "b")], [BY_COLLEAGUE, WITH_LEAVE, OTHER_BYTES],
    ),
    "of what was written with leave the last, when it is the last of all": (
        [imported(10, job="6"), changed(30, WRITER), changed(40), changed(45, WRITER), imported(90, "b")],
        [BY_COLLEAGUE, WITH_LEAVE, OTHER_BYTES],
    ),
    "a write so long ago that it explains nothing": ([changed(-31 * DAY), imported(90)], []),
    "ranks on several nodes": (
        [imported(80, "b"), changed(85), imported(90, "b", host="gpu-002"), imported(10, job="6")], [OTHER_BYTES],
    ),
}  # fmt: skip


LEAVE = ({"path": "/ckpt", "writers": ("u070",)},)


@pytest.mark.parametrize(("events", "expected"), HISTORIES.values(), ids=HISTORIES)
def test_an_import_is_told_other_bytes_and_foreign_writes_before_it(events: list[Event], expected: list[tuple[str, str]]) -> None:
    """In every order of arrival: what an earlier rank's word makes untrue is taken back."""
    facts = to_module(*events)
    for order in permutations(facts):
        assert before(run(order)) == sorted(expected)
    for at in range(len(facts)):
        first = run(facts[:at])
        again = Artefacts(first.cases.facts(), first.said)
        again.take(*facts[at:])
        assert before(again) == sorted(expected)


def test_a_write_that_proves_to_be_with_leave_is_taken_back() -> None:
    """A further audit record says who wrote: in whatever order, and behind a restart, nobody is told of a foreign hand."""
    half, whole = (
        Fact(artefact_case(CLUSTER, MODULE), "write", rank(at), fact(changed(40, by)).body) for at, by in ((1, OTHER), (2, WRITER))
    )
    facts = [*to_module(imported(10, job="6"), imported(90, "b")), half, whole]
    for order in permutations(facts):
        artefacts = Artefacts(roots=LEAVE)
        artefacts.take(*order)
        assert before(artefacts) == [OTHER_BYTES]
        first = Artefacts(roots=LEAVE)
        first.take(*order[:-1])
        again = Artefacts(first.cases.facts(), first.said, LEAVE)
        again.take(order[-1])
        assert before(again) == [OTHER_BYTES]


def test_of_a_module_that_everybody_imports_alike_two_old_imports_are_kept() -> None:
    """A job has thousands of modules, and a site thousands of jobs: the first and the last of the same bytes, once they are old."""
    case = artefact_case(CLUSTER, MODULE)
    artefacts = run(to_module(*(imported(number, job=str(number)) for number in range(50)), imported(5 * DAY, job="99")))
    assert len(artefacts.cases.of(case)) == 51
    artefacts.take(at=now(4 * DAY))
    artefacts.take(*to_module(imported(5 * DAY + 1, job="98")), at=now(5.5 * DAY))
    assert len(artefacts.cases.of(case)) == 4
    artefacts.take(*to_module(changed(5.1 * DAY), imported(5.2 * DAY, "b")))
    assert before(artefacts) == [BY_COLLEAGUE, ("ModuleImported", "98")]


@pytest.mark.parametrize(
    "later",
    [
        pytest.param([changed(40), imported(3 * DAY, job="7"), imported(5 * DAY, "b")], id="before the last foreign write"),
        pytest.param([imported(5 * DAY, job="7"), changed(4.5 * DAY), imported(4.6 * DAY, "b")], id="one partition is read ahead"),
    ],
)
def test_when_old_imports_are_forgotten_changes_nothing(later: list[Event]) -> None:
    """The last import before a foreign write is told each load of other bytes, whatever was imported alike since."""
    *first, last = to_module(*(imported(at, job=str(at)) for at in (10, 20, 30)), *later)
    whole, artefacts = run(first), run(first)
    artefacts.take(at=now(4 * DAY))
    assert len(artefacts.cases.of(artefact_case(CLUSTER, MODULE))) < len(first)
    for each in (whole, artefacts):
        each.take(last)
    assert artefacts.uses() == whole.uses()


def test_a_hook_has_a_history_as_a_module_has() -> None:
    """What runs before a job's own code."""
    hooks = [
        build.event(at, Source.PROBE, HookFound(job=job, hook="pth", path="/ckpt/env/x.pth", sha256=sha * 64), host=HOST, job=job)
        for at, job, sha in ((10, "6", "a"), (90, JOB, "b"))
    ]
    assert before(run(to_module(*hooks))) == [("HookFound", "6")]
