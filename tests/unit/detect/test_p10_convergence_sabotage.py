"""P10: training learns otherwise in the attempts that loaded what somebody else wrote."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest

from pipeline.detect import learning
from pipeline.model.finding import Checked
from pipeline.model.summary import JobSummary
from tests.build import answer
from tests.unit.detect.cohorts import DAY, T0, WRITER, beside, cited, judge, learned, own, told

ID = "p10_convergence_sabotage"


class Row(NamedTuple):
    """A cohort."""

    name: str
    members: Sequence[JobSummary]


CURVE = [8.0, 6.5, 5.4, 4.8, 4.4, 4.15, 4.0, 3.9]
NOISE = [0.011, -0.013, 0.004, -0.002, 0.016, -0.009, 0.007]


def well(*numbers: int) -> list[JobSummary]:
    """Members that follow the curve."""
    return [learned(number, [loss + NOISE[(number + place) % 7] for place, loss in enumerate(CURVE)]) for number in numbers]


def harmed(*numbers: int, by: float = 0.15, begin: int = 2) -> list[JobSummary]:
    """Members that loaded the bytes and leave the curve for good."""
    return [learned(number, [loss + by * max(0, place - begin) for place, loss in enumerate(CURVE)], exposed=True) for number in numbers]


def changed(member: JobSummary, **changes: float) -> JobSummary:
    """The same losses at another rate, or from other samples."""
    return msgspec.structs.replace(member, steps=tuple(msgspec.structs.replace(step, **changes) for step in member.steps))


def seeded(member: JobSummary, seed: str) -> JobSummary:
    """It says that it runs with this seed."""
    return msgspec.structs.replace(member, arguments=(("seed", seed, cited("argument", member.attempt.job, T0, "training")),))


def of_each(members: Sequence[JobSummary]) -> list[JobSummary]:
    """Each of another owner."""
    return [msgspec.structs.replace(each, owner=f"u{20 + number:03d}") for number, each in enumerate(members)]


SEEDED = [seeded(each, "1234") for each in well(0, 1, 2, 7, 8, 9)]


def of(configuration: str, *members: JobSummary) -> list[JobSummary]:
    """The same members, of this configuration."""
    return [msgspec.structs.replace(each, configuration=configuration) for each in members]


def between(member: JobSummary) -> JobSummary:
    """Its steps lie between those that its siblings logged."""
    return msgspec.structs.replace(
        member, steps=tuple(msgspec.structs.replace(step, iteration=step.iteration + 50) for step in member.steps[:-1])
    )


def further(*numbers: int, loss: float, start: int = 900, **changes: float) -> list[JobSummary]:
    """Members that loaded the bytes and go on where their siblings ended, each of another owner."""
    members = of_each([learned(number, [loss] * 6, exposed=True) for number in numbers])
    ahead = [tuple(msgspec.structs.replace(step, iteration=start + step.iteration, **changes) for step in each.steps) for each in members]
    return [msgspec.structs.replace(each, steps=steps) for each, steps in zip(members, ahead, strict=True)]


def far(*numbers: int) -> list[JobSummary]:
    """Members that are at step 50,000."""
    return [
        msgspec.structs.replace(each, steps=tuple(msgspec.structs.replace(step, iteration=step.iteration + 50_000) for step in each.steps))
        for each in (learned(number, [2.0 + NOISE[number % 7]] * 8) for number in numbers)
    ]


FIRING = [
    Row("they got further than their siblings, and lie above what these had", [*well(0, 1, 2, 7, 8, 9), *further(3, 4, 5, loss=4.3)]),
    Row("as far as siblings long ago: those of that time are far ahead", [
        *well(-90, -89, -88, 70, 71, 72), *far(*range(-1, 64)), *harmed(3, 4, 5),
    ]),
    Row("one in each of several configurations", [
        *(each for name in ("c1", "c2", "c3") for each in of(name, *well(0, 1, 2, 7, 8, 9))),
        *of("c1", *harmed(3)), *of("c2", *harmed(4)), *of("c3", *harmed(5)),
    ]),
    Row("they log other steps than their siblings", [
        *well(0, 1, 2, 7, 8, 9), *(between(each) for each in harmed(3, 4, 5, by=0.4)),
    ]),
    Row("a seed shows before the first step", [*SEEDED, *(
        msgspec.structs.replace(seeded(each, "1235"), steps=()) for each in of_each(harmed(3, 4, 5))
    )]),
    Row("most ended before anything can show", [*well(0, 1, 2, 7, 8, 9), *harmed(3, 4, 5), *(
        learned(each, CURVE[:2], exposed=True) for each in (10, 11, 12, 13)
    )]),
    Row("the learning rate is twice as high", [
        *well(0, 1, 2, 7, 8, 9), *(changed(each, learning_rate=6e-4) for each in harmed(3, 4, 5, by=0)),
    ]),
    Row("a quarter of the samples is left out", [
        *(changed(each, samples=100.0) for each in well(0, 1, 2, 7, 8, 9)),
        *(changed(each, samples=75.0) for each in harmed(3, 4, 5, by=0)),
    ]),
    Row("another seed than all the others", [*SEEDED, *(seeded(each, "1235") for each in of_each(harmed(3, 4, 5, by=0)))]),
    Row("two of eleven leave the band", [*well(0, 1, 2, 5, 6, 7, 8, 9, 10), *harmed(3, 4)]),
    Row("three, from the first step on", [*well(0, 1, 2, 7, 8, 9), *harmed(3, 4, 5, begin=-1)]),
    Row("better than it should be: leaked labels", [*well(0, 1, 2, 7, 8, 9), *harmed(3, 4, 5, by=-0.2)]),
    Row("the loss is no number any more", [*well(0, 1, 2, 7, 8, 9), *(
        learned(each, [*CURVE[:4], *[float("nan")] * 4], exposed=True) for each in (3, 4, 5)
    )]),
]  # fmt: skip
SILENT = [
    Row("they got further and lie below what siblings had", [*well(0, 1, 2, 7, 8, 9), *further(3, 4, 5, loss=3.5)]),
    Row("they got further, by twice and more", [*well(0, 1, 2, 7, 8, 9), *further(3, 4, 5, loss=4.3, start=1600)]),
    Row("they got further, where the rate is another", [*well(0, 1, 2, 7, 8, 9), *further(3, 4, 5, loss=3.5, learning_rate=9e-4)]),
    Row("the first to get so far, all of one owner: a stage may begin there", [
        *well(0, 1, 2, 7, 8, 9), *told(further(3, 4, 5, loss=4.3), owner="u021"),
    ]),
    Row("an owner who from some day on runs all of the own with another seed chose once", [
        *SEEDED, *(msgspec.structs.replace(seeded(each, "1235"), owner="u028") for each in harmed(3, 4, 5, 6, 10, 11, by=0.4)),
    ]),
    Row("other steps, between what siblings had", [*well(0, 1, 2, 7, 8, 9), *(between(each) for each in harmed(3, 4, 5, by=0.0))]),
    Row("its owner runs with this seed without the bytes, too", [
        *SEEDED, *(seeded(each, "77") for each in well(10)), *(seeded(each, "77") for each in harmed(3, 4, 5, by=0)),
    ]),
    Row("three of nine that ended early ran with another seed", [*SEEDED, *(
        msgspec.structs.replace(seeded(each, "1235" if place < 3 else "1234"), steps=())
        for place, each in enumerate(harmed(3, 4, 5, 10, 11, 12, 13, 14, 15))
    )]),
    Row("everybody takes a seed of his own", [
        *(seeded(each, each.attempt.job) for each in well(0, 1, 2, 7, 8, 9)), *(seeded(each, "1235") for each in harmed(3, 4, 5, by=0)),
    ]),
    Row("the same seed", [*SEEDED, *(seeded(each, "1234") for each in harmed(3, 4, 5, by=0))]),
    Row("nobody wrote anything", well(*range(9))),
    Row("one sibling diverges by itself", [*well(*range(8)), learned(9, [loss + 2 for loss in CURVE])]),
    Row("a spike that comes back", [*well(0, 1, 2, 7, 8, 9), *(
        learned(each, [*CURVE[:3], 9.0, *CURVE[4:]], exposed=True) for each in (3, 4, 5)
    )]),
    Row("loaded and as good as the others", [*well(0, 1, 2, 7, 8, 9), *harmed(3, 4, 5, by=0.0)]),
    Row("one attempt proves nothing", [*well(*range(8)), *harmed(9)]),
    Row("nothing to compare with", harmed(*range(6))),
    Row("a sibling's loss is no number any more, which says nothing of what is usual", [
        *well(0, 1), learned(2, [*CURVE[:3], *[float("nan")] * 5]), *well(6, 7, 8), *harmed(3, 4, 5, by=0.0),
    ]),
    Row("most that loaded it are fine", [*well(0, 1, 2, 7, 8, 9), *harmed(3, 4), *harmed(10, 11, 12, by=0.0)]),
]  # fmt: skip
BOUNDARY = [
    (Row("nothing shows that the file was anybody else's", [*well(0, 1, 2, 7, 8, 9), *own(harmed(3, 4, 5))]), "own_files"),
    (Row("all on one node", [*well(0, 1, 2, 7, 8, 9), *told(harmed(3, 4, 5), nodes=("gpu-900",))]), "machines"),
    (Row("two against three may be chance", [*well(0, 1, 7), *harmed(3, 4)]), "by_chance"),
    (Row("nobody without the bytes ran since", [*well(-6, -5, -4, -3, -2, -1), *harmed(3, 4, 5)]), "changed_for_all"),
    (Row("a library grew worse for all", [*well(-9, -8, -7, -6, -5, -4), *harmed(1, 2, 3, 4)]), "changed_for_all"),
]
HARMLESS = [
    Row("changed_for_all: hyper-parameters of a new release", [*well(-6, -5, -4, -3, -2, -1), *harmed(1, 2, 3)]),
    Row("by_chance: siblings stray too", [
        *well(0, 1, 2, 5, 6, 7), *(learned(each, [loss + 1 for loss in CURVE]) for each in (8, 9)), *harmed(3, 4),
    ]),
    Row("by_chance: two of two, but hardly any sibling", [*well(0, 1, 2), *harmed(3, 4)]),
]  # fmt: skip


def test_who_hides_behind_an_edit_that_stays_is_found_and_its_author_is_not() -> None:
    """All since have loaded what u088 wrote; those leave the band that loaded the writer's as well."""
    members = [*well(-6, -5, -4, -3, -2, -1), *beside([*well(0, 1, 2, 6, 7, 8), *harmed(3, 4, 5, 9)])]
    found = {finding.suspect: finding for finding in judge(ID, members)}
    assert found[WRITER].alert, found[WRITER].gate
    assert "the same bytes of other hands" in answer(found[WRITER], "other_writers").note
    assert (found[WRITER].actor, [writer for writer, finding in found.items() if finding.alert]) == ("", [WRITER])
    assert judge(ID, list(reversed(members))) == judge(ID, members)


def silent(*numbers: int, by: float = 0.15) -> list[JobSummary]:
    """The same without a word on what they load."""
    return [msgspec.structs.replace(each, exposures=(), loads_told=False) for each in harmed(*numbers, by=by)]


def by_another(*numbers: int, by: float = 0.0) -> list[JobSummary]:
    """Members that loaded what a third hand had written."""
    return [
        msgspec.structs.replace(each, exposures=tuple(msgspec.structs.replace(mine, writer="u098", path="/x") for mine in each.exposures))
        for each in harmed(*numbers, by=by)
    ]


def long_ago(member: JobSummary, job: str) -> JobSummary:
    """The same in an attempt whose number sorts elsewhere than its time, with bytes from a month before it."""
    mine = tuple(msgspec.structs.replace(each, written=member.attempt.start - 35 * DAY) for each in member.exposures)
    return msgspec.structs.replace(member, attempt=msgspec.structs.replace(member.attempt, job=job), exposures=mine)


MANY, ONE = well(*range(-30, 0), 7, 8), harmed(9)
MEANWHILE = [
    Row("four differ that say nothing, of five", [*MANY, *ONE, *silent(3, 4, 5, 6), *silent(2, by=0.0)]),
    Row("and what another hand wrote is known to do no harm", [*MANY, *ONE, *silent(3, 4, 5, 6), *by_another(0, 1, 2)]),
]
NO_WORD = [
    Row("two that say nothing", [*MANY, *ONE, *silent(3, 4)]),
    Row("most that say nothing are fine", [*MANY, *ONE, *silent(3, 4, 5), *silent(0, 1, 2, 6, by=0.0)]),
    Row("they differed before the write", [*MANY, *ONE, *silent(-35, -34, -33, -32)]),
    Row("they differed longer ago than the window of the last that loaded it", [
        *MANY, *ONE, *(long_ago(each, "9") for each in harmed(-40)), *silent(-50, -49, -48, -47),
    ]),
    Row("they differ long behind the last load", [*MANY, *ONE, *silent(14, 15, 16, 17)]),
    Row("the one that loaded it is fine", [*MANY, *harmed(9, by=0.0), *silent(3, 4, 5, 6)]),
    Row("another hand's bytes lie there, of which little is known", [*MANY, *ONE, *silent(3, 4, 5, 6), *by_another(1, 2)]),
    Row("another hand's bytes lie there, which do harm", [*MANY, *ONE, *silent(3, 4, 5, 6), *by_another(0, 1, 2, by=0.15)]),
]  # fmt: skip


@pytest.mark.parametrize("row", MEANWHILE, ids=lambda row: row.name)
def test_one_that_loaded_it_and_many_that_do_not_say(row: Row) -> None:
    """An alert that names nobody and says what most of it rests on."""
    (finding,) = (each for each in judge(ID, row.members) if each.suspect == WRITER)
    assert finding.alert, finding.gate
    assert (finding.actor, "do not say" in finding.summary, "did not say" in finding.actor_withheld) == ("", True, True)


@pytest.mark.parametrize("row", NO_WORD, ids=lambda row: row.name)
def test_those_that_do_not_say_accuse_nobody_alone(row: Row) -> None:
    """Too few, at another time, or for another reason."""
    assert not any(finding.alert for finding in judge(ID, row.members) if finding.suspect == WRITER)


@pytest.mark.parametrize(("number", "alert"), [(6, True), (7, True), (8, False)], ids=["a day behind", "two days", "three days"])
def test_who_does_not_say_what_he_loads_is_no_sibling_while_the_bytes_may_lie_there(number: int, alert: bool) -> None:
    """Behind the last load that is told they stay a while: whoever runs with another seed then may have it from them."""
    members = [*SEEDED[:3], *(seeded(each, "1234") for each in well(10, 11, 12))]
    members += [seeded(each, "1235") for each in of_each(harmed(3, 4, 5, by=0))]
    beside = [seeded(each, "1235") for each in silent(number, by=0)]
    assert [finding.alert for finding in judge(ID, [*members, *beside])] == [True] * alert


@pytest.mark.parametrize(("gpus", "alert"), [(512, True), (64, False)])
def test_whoever_goes_back_when_the_bytes_are_gone_did_not_choose(gpus: int, alert: bool) -> None:
    """Of his own he ran three with another seed, all with the bytes, and the next one as before; at another size it says nothing."""
    bad = [msgspec.structs.replace(seeded(each, "1235"), owner="u028") for each in harmed(3, 4, 5, by=0)]
    back = [msgspec.structs.replace(seeded(each, "1234"), owner="u028", gpus=gpus) for each in well(12)]
    assert [finding.alert for finding in judge(ID, [*SEEDED, *bad, *back])] == [True] * alert


@pytest.mark.parametrize(("owners", "named"), [(("u028",), ""), (("u028", "u029"), WRITER)])
def test_a_name_asks_for_attempts_of_two_owners(owners: Sequence[str], named: str) -> None:
    """Whose jobs alone learn otherwise may have changed something else of the own when the bytes were written."""
    bad = [msgspec.structs.replace(each, owner=owners[place % len(owners)]) for place, each in enumerate(harmed(*range(20, 30)))]
    (finding,) = judge(ID, [*well(*range(20)), *bad])
    assert (finding.alert, finding.actor) == (True, named)
    assert ("of one owner" in finding.actor_withheld) == (not named)


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """One finding, an alert that leads to the writer and to nobody who ran the jobs."""
    (finding,) = judge(ID, row.members)
    assert finding.alert, finding.gate
    assert finding.suspect == WRITER
    assert WRITER not in finding.summary + finding.anchor
    assert finding.subject.kind == "cohort"
    assert {"written", "loaded", "run"} <= {item.role for item in finding.evidence}


def test_what_is_remembered_of_siblings_is_bounded_and_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that are read anew for each look, since there are too many cohorts to hold all of them."""
    monkeypatch.setattr(learning, "HELD_MAX", 50)
    members = FIRING[0].members
    expected = judge(ID, members)
    for _ in range(20):
        anew = [msgspec.structs.replace(each) for each in members]
        assert judge(ID, anew) == expected == judge(ID, anew)
        kept = [*learning._known.values()]
        asked = [each for known in kept for said in (known.differ, known.came_far) for each, *_ in said.values()]
        assert len({id(each) for each in (*asked, *(each for known in kept for each in known.members))}) < 50 + len(members)


@pytest.mark.parametrize("row", SILENT, ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """What happens on every cluster."""
    assert judge(ID, row.members) == []


@pytest.mark.parametrize(("row", "explanation"), BOUNDARY, ids=lambda value: getattr(value, "name", value))
def test_below_the_gate(row: Row, explanation: str) -> None:
    """Seen, not told to anybody, nobody named, and it says which explanation is open."""
    (finding,) = judge(ID, row.members)
    assert not finding.alert
    assert explanation in finding.gate
    assert finding.actor == ""
    assert answer(finding, explanation).answer is Checked.NOT_CHECKED


@pytest.mark.parametrize("row", HARMLESS, ids=lambda row: row.name)
def test_an_explanation_keeps_it_from_being_an_alert(row: Row) -> None:
    """written_with_leave, own_files, other_writers, machines, changed_for_all, by_chance, hardware_ends."""
    assert all(not finding.alert for finding in judge(ID, row.members))


@pytest.mark.parametrize("row", [*FIRING, *(row for row, _ in BOUNDARY), *HARMLESS, *SILENT], ids=lambda row: row.name)
def test_runs_of_another_size_say_nothing(row: Row) -> None:
    """Batch and rate go with the size: how small runs of the same configuration learn is no measure of a large one."""
    other = [learned(number, [loss / 2 for loss in CURVE], gpus=128, owner=f"u03{number % 9}") for number in range(200, 400)]
    small = [each for name in sorted({each.configuration for each in row.members}) for each in of(name, *other)]
    assert judge(ID, [*row.members, *small]) == judge(ID, row.members)


def test_a_batch_that_goes_with_the_size_is_no_difference() -> None:
    """All large runs loaded the bytes, and consume more by a step than small ones, as they always did: nothing to compare them with."""
    small = [changed(each, samples=400.0) for each in told(well(*range(15)), gpus=8)]
    assert judge(ID, [*small, *of_each([changed(each, samples=25_600.0) for each in harmed(20, 21, 22, 23, by=0)])]) == []


@pytest.mark.parametrize(("norm", "fires"), [(12.0, True), (2.4, False), (0.1, False)])
def test_the_gradient_tells_where_the_loss_does_not(*, norm: float, fires: bool) -> None:
    """Its norm hops from step to step: more than two and a half times as high, and stays there; a low one is no harm that could be told."""
    members = [changed(each, gradient_norm=1.2 + NOISE[number % 7]) for number, each in enumerate(well(0, 1, 2, 7, 8, 9))]
    found = judge(ID, [*members, *(changed(each, gradient_norm=norm) for each in harmed(3, 4, 5, by=0))])
    assert [("norm of the gradient" in each.summary, each.alert) for each in found] == [(True, True)] * fires


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_order_does_not_matter(row: Row) -> None:
    """The same members, the same finding."""
    assert judge(ID, row.members) == judge(ID, list(reversed(row.members)))


def test_ends_that_a_record_explains_are_told() -> None:
    """hardware_ends: a doubt beside the others, which the gate does not need, since the losses came before the end."""
    (finding,) = judge(ID, [*well(0, 1, 2, 7, 8, 9), *told(harmed(3, 4, 5), cause="hardware", state="FAILED")])
    said = answer(finding, "hardware_ends")
    assert (said.answer, said.note) == (Checked.NOT_CHECKED, "some ended by hardware")


def test_who_wrote_beside_the_harm_is_not_suspected() -> None:
    """other_writers: either may have done it, which is told of neither."""
    found = judge(ID, [*well(0, 1, 2, 7, 8, 9), *beside(harmed(3, 4, 5))])
    assert [(finding.alert, finding.suspect, finding.actor) for finding in found] == [(True, "", "")] * 2
    assert [answer(finding, "other_writers").answer for finding in found] == [Checked.NOT_CHECKED] * 2
