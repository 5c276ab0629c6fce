"""P09: steps slower in every attempt that loaded what somebody else wrote."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest

from pipeline.model.finding import UNPROVEN, Checked
from pipeline.model.summary import Exposure, JobSummary
from pipeline.model.told import Attempt
from tests.build import answer
from tests.unit.detect.cohorts import FILE, HOUR, T0, WRITER, exposure, judge, own, paced, told, told_of_several

ID = "p09_injected_delay"


class Row(NamedTuple):
    """A cohort."""

    name: str
    members: Sequence[JobSummary]


USUAL = [1020.0, 1018, 1025, 1019, 1022, 1030, 1011]


def without(*numbers: int) -> list[JobSummary]:
    """Members at the usual pace."""
    return [paced(number, USUAL[number % len(USUAL)]) for number in numbers]


def slowed(*numbers: int, by: float = 1.3) -> list[JobSummary]:
    """Members that loaded the bytes, and are slower."""
    return [paced(number, USUAL[number % len(USUAL)] * by, exposed=True) for number in numbers]


def with_files(number: int, mean: float, *files: tuple[str, str, int]) -> JobSummary:
    """A member that loaded these of the writer's: path, SHA-256, how long after the first write they were written."""
    return paced(number, mean, exposed=[exposure(f"{number}", path=path, sha256=sha, written=T0 + after) for path, sha, after in files])


def renumbered(members: Sequence[JobSummary]) -> list[JobSummary]:
    """The same on jobs of their own."""
    attempts = (msgspec.structs.replace(each.attempt, job=f"{60_000 + number}") for number, each in enumerate(members))
    return [msgspec.structs.replace(each, attempt=attempt) for each, attempt in zip(members, attempts, strict=True)]


def version(number: int, sha256: str, *, restored: bool = False) -> list[Exposure]:
    """What member `number` loaded, of several versions."""
    return [exposure(str(48_000 + number), sha256=sha256, restored=restored)]


QUICK = [paced(number, 1018, exposed=version(number, "c")) for number in (10, 11, 12, 13, 14)]
SMALL = [paced(number, 800.0 + number, gpus=8) for number in (20, 21, 22)]
FIRING = [
    Row(
        "one or two in each of several configurations",
        [
            *(paced(number, USUAL[number % 7] * each, configuration=f"c{each}") for each in (1, 2, 3) for number in (0, 1, 2, 7, 8, 9)),
            *(paced(each + 2, 1300 * each, exposed=True, configuration=f"c{each}") for each in (1, 2, 3)),
        ],
    ),
    Row(
        "who does not say what he loads, and is as slow meanwhile, is no sibling",
        [*without(0, 2, 7, 8, 9, 10), *slowed(3, 5, 6), *(paced(each, 1400, loads_told=False) for each in (1, 4))],
    ),
    Row(
        "siblings straggle, too",
        [
            *without(0, 1, 2, 7, 8, 9, 10),
            *(paced(each, 1250, exposed=False) for each in (11, 12, 13)),
            *slowed(3, 4, 5, 6, 14),
        ],
    ),
    Row("one version of the bytes is slow, the next is not", [*without(0, 1, 2, 7, 8, 9, 15, 16, 17), *slowed(3, 4, 5, 6), *QUICK]),
    Row(
        "only from a size on: small ones are quick",
        [
            *without(0, 1, 2, 7, 8, 9),
            *slowed(3, 4, 5, 6),
            *SMALL,
            *(paced(each, 810, gpus=8, exposed=True) for each in (23, 24, 25, 26)),
        ],
    ),
    Row(
        "put back as it was in between",
        [
            *without(0, 1, 2, 7, 8, 9),
            *slowed(3, 4, 5),
            *(paced(each, 1019, exposed=version(each, "a", restored=True)) for each in (10, 11, 12)),
        ],
    ),
    Row(
        "put back by the writer himself: whoever runs since loads the old bytes",
        [*without(-6, -5, -4, -3, -2, -1), *slowed(3, 4, 5), *(paced(n, 1019 + n, exposed=version(n, "a", restored=True)) for n in (7, 8))],
    ),
    Row("three of many", [*without(0, 1, 2, 7, 8, 9), *slowed(3, 4, 5)]),
    Row(
        "the writer's own jobs print that all of them are as slow",
        [*without(0, 1, 2, 7, 8, 9), *slowed(3, 4, 5), *(paced(each, 1400, owner=WRITER) for each in range(20, 40))],
    ),
    Row("they alternate with clean ones", [*without(0, 2, 4, 6, 8), *slowed(1, 3, 5, 7)]),
    Row("random short sleeps: by six parts in a hundred", [*without(0, 1, 2, 10, 11, 12), *slowed(3, 4, 5, by=1.06)]),
    Row("one runs still", [*without(0, 1, 2, 7, 8, 9), *slowed(3, 4), paced(5, 1400, exposed=True, end=None, verdict="")]),
]
EARLIER = without(*range(-9, 0))  # as they were before the write
SILENT = [
    Row(
        "of another configuration, which nobody ran without the bytes",
        [*without(0, 1, 2, 7, 8, 9), *(paced(each, 1500, exposed=True, configuration="c2") for each in (3, 4, 5))],
    ),
    Row(
        "a size that is slower anyway",
        [
            *without(0, 1, 2, 7, 8, 9),
            *(paced(each, 1500, gpus=1024) for each in (10, 11, 12)),
            *(paced(each, 1510, gpus=1024, exposed=True) for each in (3, 4, 5)),
        ],
    ),
    Row("a size that nobody else ran at", [*without(0, 1, 2, 7, 8, 9), *(paced(n, 1500, gpus=1024, exposed=True) for n in (3, 4, 5))]),
    Row(
        "slow, but the bytes are those from before",
        [*without(0, 1, 2, 7, 8, 9), *(paced(each, 1400, exposed=version(each, "a", restored=True)) for each in (3, 4, 5))],
    ),
    Row("nobody wrote anything", without(*range(9))),
    Row("slow without the bytes: a straggler", [*without(*range(8)), paced(9, 1700)]),
    Row("loaded and not slower", [*without(0, 1, 2, 7, 8, 9), *slowed(3, 4, 5, by=1.0)]),
    Row("quicker", [*without(0, 1, 2, 7, 8, 9), *slowed(3, 4, 5, by=0.8)]),
    Row("two attempts prove nothing", [*without(*range(6)), *slowed(7, 8)]),
    Row("nothing to compare with", slowed(*range(6))),
    Row("written longer ago than the window", [*without(40, 41, 42, 47, 48, 49), *slowed(43, 44, 45)]),
]
BOUNDARY = [
    (Row("nothing shows that the file was anybody else's", [*without(0, 1, 2, 7, 8, 9), *own(slowed(3, 4, 5))]), "own_files"),
    (Row("three against three may be chance", [*without(0, 1, 7), *slowed(3, 4, 5)]), "by_chance"),
    (Row("some of them are quick", [*without(0, 1, 2, 7, 8), *slowed(3, 4, 5), paced(6, 1015, exposed=True)]), "by_chance"),
    (Row("nobody without the bytes ran since", [*without(-6, -5, -4, -3, -2, -1), *slowed(3, 4, 5)]), "changed_for_all"),
    (
        Row("all slow ones on one node", [
            *without(0, 1, 2, 7, 8, 9), *(paced(each, 1400, exposed=True, nodes=("gpu-900",)) for each in (3, 4, 5)),
        ]),
        "machines",
    ),
]  # fmt: skip
HARMLESS = [
    Row("changed_for_all: a library grew slower", [*without(-6, -5, -4, -3, -2, -1), *slowed(1, 2, 3, 4, 5, 6)]),
    Row("machines: one lemon node", [*without(0, 1, 2), *(paced(each, 1400, exposed=True, nodes=("gpu-900",)) for each in (3, 4, 5))]),
    Row("by_chance: paces overlap", [*(paced(each, 1000 + 50 * (each % 4)) for each in range(6)), *(
        paced(each, 1070 + 60 * (each % 3), exposed=True) for each in (7, 8, 9)
    )]),
]  # fmt: skip


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """One finding, an alert that leads to the writer and to nobody who ran the jobs."""
    (finding,) = judge(ID, [*EARLIER, *row.members])
    assert finding.alert, finding.gate
    assert finding.suspect == WRITER
    assert WRITER not in finding.summary + finding.anchor
    assert finding.subject.kind == "cohort"
    assert {"written", "loaded", "run"} <= {item.role for item in finding.evidence}


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
    """Large ones straggle more: that small runs of the same configurations are all as quick as ever makes no slow one rarer."""
    names = sorted({each.configuration for each in row.members})
    small = [
        paced(number, 400.0 + number % 7, gpus=128, configuration=name, owner=f"u03{number % 9}")
        for name in names
        for number in range(200, 400)
    ]
    assert judge(ID, [*row.members, *small]) == judge(ID, row.members)


@pytest.mark.parametrize("small", range(1, 10))
def test_harm_from_a_size_on_is_found_however_many_small_sizes_there_are(small: int) -> None:
    """Of nine sizes and more not each is asked about; the largest, and where size bands begin, always are."""
    sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256][:small]
    clean = [paced(2 * number - 20, USUAL[number % 7], gpus=gpus) for gpus in (*sizes, 512) for number in range(20)]
    quick = [paced(number + 2, USUAL[number % 7], gpus=gpus, exposed=True) for gpus in sizes for number in range(6)]
    (finding,) = judge(ID, renumbered([*clean, *quick, *slowed(*range(2, 10), by=1.4)]))
    assert finding.alert, finding.gate


@pytest.mark.parametrize("quick", [(1, 2, 4, 8, 16, 32, 64, 128, 256), tuple(range(256, 320, 8))])
def test_harm_above_a_size_at_which_a_band_begins_is_found_from_the_next_size_on(quick: Sequence[int]) -> None:
    """Jobs of 256 GPUs go well and those of more do not: of a band not its beginning alone is asked about."""
    clean = [paced(2 * number - 20, USUAL[number % 7], gpus=gpus) for gpus in (*quick, 480, 496) for number in range(20)]
    well = [paced(number + 2, USUAL[number % 7], gpus=gpus, exposed=True) for gpus in quick for number in range(6)]
    slow = [paced(number + 2, USUAL[number % 7] * 1.4, gpus=480 + 16 * (number % 2), exposed=True) for number in range(8)]
    (finding,) = judge(ID, renumbered([*clean, *well, *slow]))
    assert finding.alert, finding.gate
    assert finding.summary.startswith("8 attempts")


def test_straggling_at_a_size_is_told_as_such() -> None:
    """Half of the large ones straggle anyway: five more that loaded the bytes are no alert, whatever small runs do."""
    large = [*without(0, 1, 2, 7, 8, 9, 14, 15), *(paced(each, 1350.0 + each) for each in (20, 21, 22, 23, 24, 25, 26))]
    small = [paced(each, 400.0, gpus=128) for each in range(100, 170)]
    (finding,) = judge(ID, [*large, *small, *slowed(3, 4, 5, 6, 10, by=1.35)])
    assert not finding.alert
    assert "by_chance" in finding.gate
    assert "as slow as 15 of" in finding.summary


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_order_does_not_matter(row: Row) -> None:
    """The same members, the same finding."""
    members = [*EARLIER, *row.members]
    assert judge(ID, members) == judge(ID, list(reversed(members)))


def test_ends_that_a_record_explains_are_told() -> None:
    """hardware_ends: a doubt beside the others, which the gate does not need, since slow steps came before the end."""
    members = told(slowed(3, 4, 5), cause="hardware", state="FAILED")
    (finding,) = judge(ID, [*without(0, 1, 2, 7, 8, 9), *members])
    said = answer(finding, "hardware_ends")
    assert (said.answer, said.note) == (Checked.NOT_CHECKED, "some ended by hardware")


@pytest.mark.parametrize(("exposed", "named"), [((3, 5, 7, 9), ""), (range(3, 27, 2), WRITER)])
def test_a_name_asks_for_more_than_an_alert(exposed: Sequence[int], named: str) -> None:
    """An alert may be wrong in one of two hundred comparisons; a name in one of a hundred thousand."""
    (finding,) = judge(ID, [*without(*range(0, 28, 2)), *slowed(*exposed)])
    assert (finding.alert, finding.actor, finding.suspect) == (True, named, WRITER)
    assert ("by chance" in finding.actor_withheld) == (not named)


def unauthenticated(member: JobSummary) -> JobSummary:
    """The same pace, told by senders that nobody authenticated."""
    assert member.pace is not None
    first, slowest = (msgspec.structs.replace(each, summary=each.summary + UNPROVEN) for each in (member.pace.first, member.pace.slowest))
    return msgspec.structs.replace(member, pace=msgspec.structs.replace(member.pace, first=first, slowest=slowest))


def test_paces_that_anybody_may_have_sent_name_nobody() -> None:
    """One true pace among forged ones must not make a comparison out of them."""
    clean, slow = without(*range(0, 28, 2)), slowed(*range(3, 27, 2))
    assert [each.actor for each in judge(ID, [*clean, *slow])] == [WRITER]
    forged_ones = [*map(unauthenticated, slow[1:]), slow[0]]
    assert {each.actor for each in judge(ID, [*clean, *forged_ones])} <= {""}


@pytest.mark.parametrize(("delay", "exposed", "others"), [(1.5, 3, 12), (1.3, 4, 16), (1.2, 8, 20), (1.1, 15, 40), (1.0, 8, 20)])
def test_what_is_found_among_stragglers_is_what_the_blind_spots_say(delay: float, exposed: int, others: int) -> None:
    """Four in five where three attempts in ten straggle by 5 to 35 %; of bytes that do nothing hardly one."""
    dice, draws = random.Random(f"{delay}"), 50

    def attempt(number: int, slower: float = 1.0, *, loaded: bool = False) -> JobSummary:
        straggles = dice.uniform(1.05, 1.35) if dice.random() < 0.3 else 1.0
        return paced(number, 1000 * (straggles * dice.uniform(0.998, 1.002) + slower - 1), exposed=loaded)

    found = 0
    for _ in range(draws):
        members = [*(attempt(n, delay, loaded=True) for n in range(exposed)), *(attempt(exposed + n) for n in range(others))]
        found += any(finding.alert for finding in judge(ID, members))
    assert found <= draws // 20 if delay == 1.0 else found >= draws * 0.7


def test_bytes_that_hardly_anybody_loaded_hide_nothing() -> None:
    """He writes eighteen versions more, which one job each loads: whatever these show, nothing is asked of one, so it costs nothing."""
    single = [paced(number, 1000 + number, exposed=version(number, f"v{number}")) for number in range(10, 28)]
    slow = slowed(3, 4, 5, 6)
    (finding,) = judge(ID, [*EARLIER, *without(0, 1, 2, 7, 8, 9), *slow, *single])
    assert finding.alert, finding.gate
    (alone,) = judge(ID, [*EARLIER, *without(0, 1, 2, 7, 8, 9), *slow])
    assert finding.summary.partition(",")[0] == alone.summary.partition(",")[0]


@pytest.mark.parametrize("count", [19, 20, 25, 40])
@pytest.mark.parametrize("harmful", ["a", "f00"])
def test_versions_that_do_nothing_do_not_push_out_the_one_that_harms(count: int, harmful: str) -> None:
    """Whatever the hash: of more than twenty the most loaded are asked about, and the newest that several loaded."""
    clean = [paced(2 * number - 20, USUAL[number % 7]) for number in range(40)]
    quick = [with_files(2, USUAL[n % 7], (FILE, f"b{n:03d}", 0)) for n in range(count) for _ in range(2)]
    slow = [with_files(number + 2, USUAL[number % 7] * 1.4, (FILE, harmful, 0)) for number in range(8)]
    (finding,) = judge(ID, renumbered([*clean, *quick, *slow]))
    assert finding.alert, finding.gate


def test_old_files_that_everybody_loads_do_not_push_out_the_newest_version() -> None:
    """He adds a file each day for a month, which all load since; what a few load of him last slows them."""
    standing = [(f"/shared/{day:02d}.py", "b", day * 24 * HOUR) for day in range(30)]
    clean = [paced(3 * number - 20, USUAL[number % 7]) for number in range(20)]
    quick = [with_files(day + 1, USUAL[day % 7], *standing[: day + 1]) for day in range(30) for _ in range(2)]
    after = [with_files(31, USUAL[number], *standing) for number in range(7)]
    slow = [with_files(31, USUAL[number] * 1.4, *standing, ("/shared/zz.py", "f", 30 * 24 * HOUR)) for number in range(6)]
    members = renumbered([*clean, *quick, *after, *slow])
    (finding,) = judge(ID, members)
    assert finding.alert, finding.gate
    assert finding.summary.startswith("6 attempts")
    assert judge(ID, members[::-1]) == [finding]


def test_files_that_the_same_attempts_load_are_one_question() -> None:
    """Thirty files of a package, which each import loads, count as one version."""
    package = [(f"/shared/{number:02d}.py", "b", number) for number in range(30)]
    clean = [paced(2 * number - 20, USUAL[number % 7]) for number in range(20)]
    quick = [with_files(2, USUAL[number % 7], *package) for number in range(40)]
    later = [with_files(3, USUAL[n % 7], (FILE, f"b{n:03d}", HOUR)) for n in range(12) for _ in range(2)]
    slow = [with_files(2, USUAL[number] * 1.4, *package, ("/shared/zz.py", "f", 0)) for number in range(6)]
    (finding,) = judge(ID, renumbered([*clean, *quick, *later, *slow]))
    assert finding.alert, finding.gate


def test_two_writers_are_two_findings() -> None:
    """Each is compared with those that did not load his bytes."""
    other = [paced(number, 1500, exposed=[exposure(str(number), writer="u088", path="/shared/env/b.py")]) for number in (10, 11, 12)]
    found = judge(ID, [*without(0, 1, 2, 7, 8, 9, 13, 14), *slowed(3, 4, 5), *other])
    assert {finding.suspect for finding in found} == {WRITER, "u088"}
    assert len({finding.id for finding in found}) == 2


def test_who_wrote_beside_the_harm_is_not_named() -> None:
    """All slow attempts loaded what two people wrote: that is told, with both writes; neither is suspected: either may have done it."""
    found = judge(ID, [*EARLIER, *without(0, 1, 2, 7, 8, 9), *with_theirs(slowed(3, 4, 5, 10, 11))])
    told_of_several(found)


def test_who_is_cleared_is_not_cited_as_one_of_several() -> None:
    """The slow attempts loaded what three people wrote; what u077 wrote others loaded alone, and are quick."""
    theirs = [exposure("x", writer="u077", path="/shared/c.py")]
    slow = [msgspec.structs.replace(each, exposures=(*each.exposures, *theirs)) for each in with_theirs(slowed(3, 4, 5, 10, 11))]
    quick = [paced(each, USUAL[each % len(USUAL)], exposed=theirs) for each in (15, 16, 17)]
    found = [each for each in judge(ID, [*EARLIER, *without(0, 1, 2, 7, 8, 9), *slow, *quick]) if each.alert]
    assert len(found) == 2
    wrote = {item.event_id for finding in found for item in finding.evidence if item.role == "written"}
    assert wrote == {f"written-{WRITER}/shared/env/train/loss.py", "written-u088/shared/b.py"}
    assert all("several identities" in finding.actor_withheld for finding in found)


def test_a_colleague_whose_bytes_do_no_harm_is_cleared_by_them() -> None:
    """u088 wrote too: the attempts that loaded that alone are quick."""
    both = [paced(each, 1400, exposed=[exposure(str(each)), exposure(str(each), writer="u088", path="/shared/b.py")]) for each in (3, 4)]
    harmless = [paced(each, 1020 + each, exposed=[exposure(str(each), writer="u088", path="/shared/b.py")]) for each in (10, 11, 12)]
    found = judge(ID, [*without(0, 1, 2, 7, 8, 9), *slowed(5, 6, 13), *both, *harmless])
    assert [finding.suspect for finding in found if finding.alert] == [WRITER]


def test_where_few_loaded_nothing_foreign_others_clear_a_colleague() -> None:
    """All slow ones loaded what both wrote; who loaded only what u088 wrote is as quick as who loaded nothing."""
    theirs = [exposure("x", writer="u088", path="/shared/b.py")]
    both = [paced(each, 1400, exposed=[exposure(str(each)), *theirs]) for each in (3, 4, 5, 6, 14)]
    found = judge(ID, [*without(0, 1, 2, 7), *both, *(paced(each, 1020, exposed=theirs) for each in (10, 11, 12))])
    assert [finding.suspect for finding in found if finding.alert] == [WRITER]
    assert {finding.actor for finding in found if not finding.alert} <= {""}


def with_theirs(members: Sequence[JobSummary], sha256: str = "b") -> list[JobSummary]:
    """The same, that loaded what u088 had written as well."""
    return [
        msgspec.structs.replace(
            each, exposures=(*each.exposures, exposure(each.attempt.job, writer="u088", path="/shared/b.py", sha256=sha256))
        )
        for each in members
    ]


def test_who_hides_behind_an_edit_that_stays_is_found_and_its_author_is_not() -> None:
    """All since have loaded what u088 wrote, and those are slow that loaded the writer's, too; nobody is named: both may act together."""
    members = [*EARLIER, *with_theirs(without(0, 2, 4, 6, 8, 10, 12)), *with_theirs(slowed(3, 5, 7, 9))]
    found = {finding.suspect: finding for finding in judge(ID, members)}
    assert found[WRITER].alert, found[WRITER].gate
    assert "the same bytes of other hands" in answer(found[WRITER], "other_writers").note
    assert not any(finding.alert for writer, finding in found.items() if writer != WRITER)
    assert judge(ID, list(reversed(members))) == judge(ID, members)
    sure = [*EARLIER, *with_theirs(without(*range(0, 28, 2))), *with_theirs(slowed(*range(3, 27, 2)))]
    assert [(each.actor, "act together" in each.actor_withheld) for each in judge(ID, sure) if each.suspect == WRITER] == [("", True)]


@pytest.mark.parametrize("slow", [20, 60, 150])
def test_who_hides_so_is_found_however_many_are_slow(slow: int) -> None:
    """The first of them are looked at, and of these each has two to be compared with."""
    theirs = with_theirs([paced(number, 1018.0 + number) for number in (0, 2)])
    harmed = [msgspec.structs.replace(each, attempt=msgspec.structs.replace(each.attempt, job=str(90_000 + number)))
              for number in range(slow) for each in slowed(3 + number % 20)]  # fmt: skip
    found = judge(ID, [*EARLIER, *theirs, *with_theirs(harmed)])
    assert [each.suspect for each in found if each.alert] == [WRITER]


def test_harmless_bytes_beside_say_nothing_of_the_slow_ones() -> None:
    """u088's bytes are slow, and never without the writer's; small jobs with u087's and the writer's differ by one in a hundred."""
    slow = with_theirs(slowed(3, 5, 7, 9))
    third = [exposure("x", writer="u087", path="/shared/c.py")]
    quick = [paced(each, 1020 + each, exposed=third, gpus=8) for each in range(10, 16)]
    hardly = [paced(each, 1030 + each, exposed=[exposure(str(each)), *third], gpus=8) for each in range(16, 22)]
    found = judge(ID, [*EARLIER, *without(0, 2, 4, 6, 8), *slow, *quick, *hardly])
    assert [each.suspect for each in found if each.alert] == ["", ""]


def test_whose_edit_slows_is_found_and_who_wrote_beside_is_not() -> None:
    """u088's bytes are the slow ones, with the writer's and without them."""
    theirs = with_theirs([paced(each, USUAL[each % 7] * 1.3) for each in (3, 5, 7, 9)])
    found = judge(ID, [*EARLIER, *without(0, 2, 4, 6, 8, 10, 12), *theirs, *with_theirs(slowed(11, 13, 14, 15))])
    assert [finding.suspect for finding in found if finding.alert] == ["u088"]


@pytest.mark.parametrize(("sha256", "gpus"), [("c", 512), ("b", 8)])
def test_others_bytes_are_cleared_by_the_same_version_at_the_same_size_alone(sha256: str, gpus: int) -> None:
    """Another version of u088's was quick, or the same in small jobs: his bytes may be the slow ones in those that loaded both."""
    theirs = with_theirs([paced(each, 1020.0 + each, gpus=gpus) for each in (0, 2, 4, 6, 8, 10, 12)], sha256)
    small = [paced(each, 1020.0 + each, gpus=8) for each in (20, 21, 22)]
    found = judge(ID, [*EARLIER, *without(14, 16, 18), *small, *theirs, *with_theirs(slowed(3, 5, 7, 9))])
    assert found
    assert not any(finding.suspect or finding.actor for finding in found if finding.alert)


def forged(member: JobSummary) -> JobSummary:
    """By records that anybody may have sent it loaded what the writer had written."""
    said = exposure(member.attempt.job, path="/shared/env/train/other.py")
    unproven = msgspec.structs.replace(said, write=msgspec.structs.replace(said.write, summary=f"written{UNPROVEN}"))
    return msgspec.structs.replace(member, exposures=(*member.exposures, unproven))


def test_a_writer_hides_in_nothing_that_anybody_may_have_sent() -> None:
    """He sends word that he wrote what goes well, too: the finding is the same as without it."""
    clean, slow = without(0, 1, 2, 7, 8, 9), slowed(3, 4, 5)
    (finding,) = judge(ID, [*clean, *slow])
    assert judge(ID, [*map(forged, clean), *slow]) == [finding]


def test_what_anybody_may_have_sent_blames_nobody() -> None:
    """Slow attempts, and word that they loaded what somebody wrote: seen, and nobody is named."""
    (finding,) = judge(ID, [*without(0, 1, 2, 7, 8, 9), *(forged(paced(each, 1400)) for each in (3, 4, 5))])
    assert finding.actor == ""


def test_two_files_that_slow_are_told_together_and_a_harmless_third_is_not() -> None:
    """One finding per writer: what jobs cite of it says of each file that it did harm, however many loaded the first."""

    def loaded(path: str, numbers: Sequence[int], by: float) -> list[JobSummary]:
        return [paced(number, USUAL[number % 7] * by, exposed=[exposure(str(48_000 + number), path=path)]) for number in numbers]

    first, second = loaded("/shared/a.py", range(8, 13), 1.3), loaded("/shared/b.py", range(13, 17), 1.5)
    harmless = loaded("/shared/c.py", range(17, 20), 1.0)
    (finding,) = judge(ID, [*without(*range(8)), *first, *second, *harmless])
    assert finding.alert
    assert finding.summary.startswith("9 attempts")
    assert {item.event_id for item in finding.evidence if item.role == "written"} == {f"written-{WRITER}/shared/{name}.py" for name in "ab"}


def test_a_second_file_lends_the_first_no_name() -> None:
    """Most of the clearest loaded what another wrote as well; what the second file shows alone is too little for a name."""

    def loaded(job: int, hour: int, mean: float, *files: tuple[str, str]) -> JobSummary:
        start, exposed = T0 + hour * HOUR, [exposure(str(job), writer=writer, path=path) for writer, path in files]
        return paced(job, mean, exposed=exposed, attempt=Attempt("main", str(job), start, start), seen=start, end=start + HOUR)

    mine, other = (WRITER, "/shared/a.py"), ("u088", "/shared/b.py")
    usual = [loaded(number, 2 * number, (1300.0 if number % 5 == 0 else 1000.0) + number) for number in range(40)]
    well = [loaded(100 + number, 3 * number, 1000.0 + number, other) for number in range(6)]
    clearest = [loaded(200 + number, 5 * number, 1600.0 + number, mine, other) for number in range(8)]
    second = [loaded(300 + number, 4 * number, 1085.0 + number, (WRITER, "/shared/c.py")) for number in range(12)]
    for more in (clearest, second, [*clearest, *second]):
        (finding,) = [each for each in judge(ID, [*usual, *well, *more]) if each.suspect == WRITER]
        assert (finding.alert, finding.actor) == (True, "")


def test_what_lay_only_beside_a_file_that_slows_is_not_told_with_it() -> None:
    """Jobs that loaded the one are slow, whether they loaded the other as well or not."""

    def loaded(names: str, numbers: Sequence[int], by: float) -> list[JobSummary]:
        exposed = [exposure(names, path=f"/shared/{name}.py") for name in names]
        return [paced(number, USUAL[number % 7] * by, exposed=exposed) for number in numbers]

    slow = [*loaded("a", range(10, 16), 1.3), *loaded("ab", range(16, 24), 1.3)]
    (finding,) = judge(ID, [*without(*range(10)), *slow, *loaded("b", range(24, 27), 1.0)])
    assert finding.alert
    assert {item.event_id for item in finding.evidence if item.role == "written"} == {f"written-{WRITER}/shared/a.py"}
