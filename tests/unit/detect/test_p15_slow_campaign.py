"""P15: large jobs that loaded what somebody else wrote keep ending without explanation."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import msgspec
import pytest

from pipeline.model.finding import Checked
from pipeline.model.summary import JobSummary
from tests.build import answer
from tests.unit.detect.cohorts import WRITER, beside, ended, exposure, heard, judge, own, told_of_several

ID = "p15_slow_campaign"


class Row(NamedTuple):
    """A cohort."""

    name: str
    members: Sequence[JobSummary]


def others(count: int = 30, bad: int = 3) -> list[JobSummary]:
    """Large jobs without the bytes, some of which end without explanation, as they do."""
    return [ended(2 * number, bad=number < bad) for number in range(count)]


def smaller(count: int = 30, bad: int = 0) -> list[JobSummary]:
    """The same of another size band."""
    return [ended(-2 * number - 2, bad=number < bad, gpus=300) for number in range(count)]


def campaign(outcomes: str, every: int = 2) -> list[JobSummary]:
    """Large jobs with the bytes, in order: x ended without explanation."""
    return [ended(every * number + 1, bad=each == "x", exposed=True) for number, each in enumerate(outcomes)]


def shifted(members: Sequence[JobSummary], by: int) -> list[JobSummary]:
    """The same so many days later, on jobs of their own."""
    return [ended(int(each.attempt.job) - 48_000 + by, bad=each.verdict == "unexplained", exposed=True) for each in members]


FIRING = [
    Row("six of six: harm that nearly always strikes shows early", [*others(), *campaign("xxxxxx")]),
    Row("large jobs that do not say what they load end badly meanwhile: they may have loaded it", [
        *others(), *campaign("xxxxxxxx"), *(ended(2 * number + 2, bad=True, loads_told=False) for number in range(5)),
    ]),
    Row("all end badly", [*others(), *campaign("xxxxxxxx")]),
    Row("five of five, where one in eight ends so anyway", [*others(), *campaign("xxxxx")]),
    Row("four of four, where none ends so", [*others(bad=0), *campaign("xxxx")]),
    Row("now and then", [*others(), *campaign("xx.xx.xxx.x.xx")]),
    Row("it begins late, since the code waits", [*others(), *campaign("........xxxxxxxxxx")]),
    Row("each of another size: to ask of all of them costs no more than to ask twice", [*others(), *smaller(bad=3), *(
        ended(2 * number + 1, bad=True, exposed=True, gpus=256 + 64 * min(number, 7)) for number in range(9)
    )]),
    Row("with pauses of weeks", [*others(), *campaign("xxx"), *(
        ended(number, bad=True, exposed=True) for number in (41, 43, 45, 47, 49)
    )]),
]  # fmt: skip
SILENT = [
    Row("nobody wrote anything", others()),
    Row("as bad as usual", [*others(), *campaign(".x........x....")]),
    Row("a bad day is no campaign", [*others(), *campaign("xxxxx", every=0)]),
    Row("four of four, where one in eight ends so anyway", [*others(), *campaign("xxxx")]),
    Row("three of three, where none ends so", [*others(bad=0), *campaign("xxx")]),
    Row("four of nine, where one in eight ends so anyway", [*others(), *campaign("x.x..x..x")]),
    Row("nothing to compare with", campaign("xxxxxxxxx")),
    Row("large jobs fail here anyway", [*others(bad=14), *campaign("x.x.x.x.x.x.")]),
    Row("large jobs fail here anyway, and smaller ones never do", [*others(20, bad=20), *smaller(80), *campaign("xxxxxxxxxxxx")]),
    Row("nearly all large jobs fail here", [*others(30, bad=29), *campaign("x" * 44)]),
    Row("of that size too few others ended", [*others(7, bad=0), *smaller(80), *campaign("xxxxxxxxxxxx")]),
    Row("written longer ago than the window", [*others(), *(ended(number, bad=True, exposed=True) for number in range(70, 90, 2))]),
]
BOUNDARY = [
    (Row("nothing shows that the file was anybody else's", [*others(), *own(campaign("xxxxxx"))]), "own_files"),
    (Row("one owner could have staged it", [*others(), *(
        ended(2 * number + 1, bad=True, exposed=True, owner="u017") for number in range(9)
    )]), "one_owner"),
    (Row("nobody without the bytes ran since", [
        *(ended(-2 * number - 2, bad=False) for number in range(30)), *campaign("xxxxxxxxx"),
    ]), "changed_for_all"),
    (Row("all on one node", [*others(), *(
        ended(2 * number + 1, bad=True, exposed=True, nodes=("gpu-900",)) for number in range(9)
    )]), "machines"),
    (Row("no record says on which nodes", [*others(), *(
        ended(2 * number + 1, bad=True, exposed=True, nodes=()) for number in range(9)
    )]), "machines"),
]  # fmt: skip
HARMLESS = [
    Row("changed_for_all: a library regression hits all", [*(ended(-2 * n - 2, bad=False) for n in range(20)), *campaign("xxxxxxx")]),
    Row("machines: a lemon node", [*others(), *(ended(2 * n + 1, bad=True, exposed=True, nodes=("gpu-900",)) for n in range(8))]),
    Row("hardware_ends are explained and do not count", [*others(), *(
        ended(2 * n + 1, bad=False, exposed=True, cause="hardware", state="FAILED") for n in range(9)
    )]),
]  # fmt: skip


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """One finding, an alert that leads to the writer and to nobody who ran the jobs."""
    (finding,) = judge(ID, row.members, "size")
    assert finding.alert, finding.gate
    assert finding.suspect == WRITER
    assert WRITER not in finding.summary + finding.anchor
    assert finding.subject.kind == "cohort"
    assert {"written", "loaded", "run"} <= {item.role for item in finding.evidence}


@pytest.mark.parametrize("row", SILENT, ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """What happens on every cluster."""
    assert judge(ID, row.members, "size") == []


@pytest.mark.parametrize(("row", "explanation"), BOUNDARY, ids=lambda value: getattr(value, "name", value))
def test_below_the_gate(row: Row, explanation: str) -> None:
    """Seen, not told to anybody, nobody named, and it says which explanation is open."""
    (finding,) = judge(ID, row.members, "size")
    assert not finding.alert
    assert explanation in finding.gate
    assert finding.actor == ""
    assert answer(finding, explanation).answer is Checked.NOT_CHECKED


@pytest.mark.parametrize("row", HARMLESS, ids=lambda row: row.name)
def test_an_explanation_keeps_it_from_being_an_alert(row: Row) -> None:
    """written_with_leave, own_files, other_writers, machines, changed_for_all, by_chance, hardware_ends, one_owner."""
    assert all(not finding.alert for finding in judge(ID, row.members, "size"))


@pytest.mark.parametrize("row", [*FIRING, *(row for row, _ in BOUNDARY)], ids=lambda row: row.name)
def test_jobs_of_another_size_say_nothing(row: Row) -> None:
    """Large ones fail more by physics: that smaller ones, or larger ones, go well accuses nobody."""
    huge = [ended(-2 * number - 1, bad=False, gpus=4096) for number in range(200)]
    assert judge(ID, [*row.members, *huge], "size") == judge(ID, row.members, "size")


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_order_does_not_matter(row: Row) -> None:
    """The same members, the same finding."""
    assert judge(ID, row.members, "size") == judge(ID, list(reversed(row.members)), "size")


@pytest.mark.parametrize("count", [4, 8, 9, 20])
def test_harm_from_a_size_on_is_found_however_many_sizes_there_are_below(count: int) -> None:
    """What only strikes the largest does not hide behind small steps of the size."""
    sizes = [256 + 8 * number for number in range(count)]
    clean = [ended(number * 4 - 20, bad=False, gpus=gpus) for gpus in (*sizes, 2048) for number in range(12)]
    well = [ended(number * 4 + 1, bad=False, gpus=gpus, exposed=True) for gpus in sizes for number in range(6)]
    bad = [ended(3 * number + 2, bad=True, gpus=2048, exposed=True) for number in range(8)]
    members = [
        msgspec.structs.replace(each, attempt=msgspec.structs.replace(each.attempt, job=f"{60_000 + number}"))
        for number, each in enumerate([*clean, *well, *bad])
    ]
    (finding,) = judge(ID, members, "size")
    assert finding.alert, finding.gate


def test_a_harmless_writer_is_seldom_accused() -> None:
    """Of many writers whose bytes do nothing, where one job in ten ends without explanation, hardly any."""
    accused = 0
    for writer in range(300):
        dice = Random(writer)
        members = [ended(2 * n + 1, bad=dice.random() < 0.1, exposed=[exposure(str(n), writer=f"u{writer:03d}")]) for n in range(20)]
        accused += len(judge(ID, [*others(), *members], "size"))
    assert accused <= 1


def test_who_wrote_beside_the_harm_is_not_suspected() -> None:
    """All that end badly loaded what two people wrote: that is told, and neither is suspected: either may have done it."""
    found = judge(ID, [*others(), *beside(campaign("xxxxxx"))], "size")
    told_of_several(found)


def test_a_colleague_whose_bytes_do_no_harm_is_neither_suspected_nor_cited() -> None:
    """Large jobs that loaded only what u088 wrote go well."""
    well = [ended(2 * number, bad=False, exposed=[exposure(str(number), writer="u088", path="/shared/b.py")]) for number in range(40, 50)]
    found = judge(ID, [*others(), *well, *beside(campaign("xxxxxx"))], "size")
    assert [finding.suspect for finding in found if finding.alert] == [WRITER]


def theirs(members: Sequence[JobSummary]) -> list[JobSummary]:
    """The same, that loaded what u088 had written and nothing of the writer's."""
    each_loaded = (exposure(each.attempt.job, writer="u088", path="/shared/b.py") for each in members)
    return [msgspec.structs.replace(each, exposures=(loaded,)) for each, loaded in zip(members, each_loaded, strict=True)]


def test_two_campaigns_in_the_same_jobs_are_both_told() -> None:
    """Most that ended so beside u088's bytes had loaded the writer's as well; without these, too, they keep ending so."""
    both, mine, other = beside(campaign("x" * 9)), shifted(campaign("x" * 10), by=20), shifted(campaign("x" * 7), by=42)
    found = judge(ID, [*others(), *both, *mine, *theirs(other)], "size")
    assert {finding.suspect for finding in found if finding.alert} == {WRITER, "u088"}
    assert all(finding.summary.startswith(f"{7 if finding.suspect == 'u088' else 19} of ") for finding in found)


def test_a_colleague_in_the_same_jobs_is_not_told_of() -> None:
    """What the writer is shown to have done says nothing of u088, whose bytes lay beside his, and elsewhere do no harm."""
    both, mine, other = beside(campaign("x" * 9)), shifted(campaign("x" * 10), by=20), shifted(campaign(".x....."), by=42)
    found = judge(ID, [*others(), *both, *mine, *theirs(other)], "size")
    assert [finding.suspect for finding in found if finding.alert] == [WRITER]


@pytest.mark.parametrize(("until", "unheard", "alert"), [(0, 6, False), (4, 4, False), (5, 3, True), (200, 0, True)])
def test_hardware_is_excluded_only_where_kernels_were_heard_at_most_ends(until: int, unheard: int, alert: bool) -> None:
    """hardware_ends: of six bad ends, every two days from 44 hours after the write on, at three some were heard within a day."""
    (finding,) = judge(ID, [*others(), *campaign("xxxxxx")], "size", heard(until=until))
    said = answer(finding, "hardware_ends")
    assert (finding.alert, said.answer is Checked.EXCLUDED) == (alert, alert)
    assert (said.missing, "no kernel was heard" in said.note) == (("kernel",) if unheard else (), unheard > 0)
    assert f"the end of {unheard} of them" in said.note or not unheard
