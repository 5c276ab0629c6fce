"""Which findings belong together: links, and that neither order nor bridges matter."""

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.detector import registry
from pipeline.incidents.campaigns import Linked, linked, links_of
from pipeline.incidents.families import FAMILIES, WORDS
from pipeline.incidents.grouping import RIVAL_MAX, RIVALS_MAX, Grouping
from pipeline.model.finding import SEVERAL, Finding
from tests.unit.incidents.campaign import borrowed, cancel, kill, tamper


def grouped(findings: Sequence[Finding]) -> list[tuple[Linked, ...]]:
    """Campaigns, of the last word under each id."""
    return grouping_of(findings).campaigns()


def grouping_of(findings: Sequence[Finding]) -> Grouping:
    """As the stage holds them."""
    grouping = Grouping()
    for each in findings:
        grouping.put(linked(each))
    return grouping


def jobs(findings: Sequence[Finding]) -> list[list[str]]:
    """The raw job ids of each campaign."""
    campaigns = [[each.finding for each in members] for members in grouped(findings)]
    return [[each.attempt.job if each.attempt else each.subject.name for each in members] for members in campaigns]


ROWS = [
    ("one suspect, the same means, two victims", [kill(0, "1", "x"), kill(5, "2", "x", owner="u013")], [["1", "2"]]),
    ("one suspect, the same victim, two means", [kill(0, "1", "x", named=False), tamper(5, "2", "x")], [["1", "2"]]),
    ("one suspect above the gate, nothing else in common", [kill(0, "1", "x"), tamper(5, "2", "x", owner="u013")], [["1", "2"]]),
    ("two suspects, the same victim", [kill(0, "1", "x"), kill(1, "2", "y")], [["1"], ["2"]]),
    ("two suspects, one artefact", [tamper(0, "1", "x"), tamper(1, "2", "y", owner="u013")], [["1"], ["2"]]),
    ("nobody suspected, one artefact", [tamper(0, "1", "x"), tamper(1, "2", "", owner="u013")], [["1", "2"]]),
    ("one write, two jobs", [tamper(0, "1", "", written="w"), tamper(1, "2", "", "/ckpt/b.pt", written="w", owner="u9")], [["1", "2"]]),
    ("nobody known, the same means and victim within a week", [kill(0, "1", ""), kill(5, "2", "")], [["1", "2"]]),
    ("the same, a month apart", [kill(0, "1", ""), kill(30, "2", "")], [["1"], ["2"]]),
    ("a pause of weeks is one campaign", [kill(0, "1", "x"), kill(40, "2", "x")], [["1", "2"]]),
    ("another year's trouble is not", [kill(0, "1", "x"), kill(300, "2", "x")], [["1"], ["2"]]),
    ("what befell an account belongs to what was done with it", [kill(0, "1", "x"), borrowed(1, "x")], [["1", "x"]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "findings", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_links(name: str, findings: list[Finding], expected: list[list[str]]) -> None:
    """Each link alone."""
    assert jobs(findings) == expected


def test_a_victim_of_two_keeps_two_campaigns_apart() -> None:
    """A finding without a suspect, on an attempt that both harmed, joins one of them and ties nothing."""
    both = [
        kill(0, "1", "x"),
        kill(1, "2", "x"),
        kill(1, "9", "x", owner="u013"),
        kill(1.1, "3", "y", owner="u013"),
        kill(2, "4", "y", owner="u013"),
    ]
    found = grouped([*both, cancel(1, "9", "", owner="u013")])
    assert [{each.finding.suspect for each in members} for members in found] == [{"x", ""}, {"y"}]


def test_a_later_finding_merges_and_its_retraction_splits() -> None:
    """As evidence asks for it: by what one account did between, two stretches of trouble are one campaign."""
    one, other = tamper(0, "1", "x", "/ckpt/a.pt"), tamper(50, "2", "x", "/ckpt/b.pt", owner="u013")
    tie = tamper(25, "3", "x", "/ckpt/b.pt", owner="u014")
    assert jobs([one, other]) == [["1"], ["2"]]
    assert jobs([one, other, tie]) == [["1", "3", "2"]]


def test_what_one_of_several_did_is_laid_at_nobody_s_door() -> None:
    """A finding that cites the acts of two people and suspects neither joins neither, whoever is nearer; with the acts of one it joins.

    Nor does it where it is the only one that tells of the other's act.
    """
    mine, theirs = tamper(0, "1", "x", written="w1"), tamper(5, "2", "y", "/ckpt/b.pt", owner="u013", written="w2")
    both = kill(6, "3", "", owner="u014", evidence=(mine.evidence[0], theirs.evidence[0]))
    again = kill(7, "4", "", owner="u014", evidence=(theirs.evidence[0], mine.evidence[0]))
    assert jobs([mine, theirs, both, again]) == [["1"], ["2"], ["3", "4"]]
    assert jobs([mine, theirs, msgspec.structs.replace(both, attempt=theirs.attempt)]) == [["1"], ["2"], ["2"]]
    assert jobs([mine, msgspec.structs.replace(both, evidence=mine.evidence[:1])]) == [["1", "3"]]
    told = msgspec.structs.replace(both, actor_withheld=f"{SEVERAL}; see the evidence")
    assert jobs([mine, told]) == jobs([mine, theirs, told])[::2] == [["1"], ["3"]]
    assert jobs([mine, msgspec.structs.replace(told, attempt=mine.attempt, evidence=())]) == [["1"], ["1"]]


def test_what_suspects_nobody_ties_no_two_people() -> None:
    """Effects of one file that nobody is suspected of go together to whoever is nearest, also where another wrote it, too."""
    wrote = [tamper(0, "1", "x", owner="u013"), tamper(10, "2", "y", owner="u014")]
    slow = [tamper(day, str(day), "", owner="u015") for day in (3, 5, 7)]
    assert jobs([*wrote, *slow]) == [["1", "3", "5", "7"], ["2"]]
    assert jobs([wrote[1], *slow]) == [["3", "5", "7", "2"]]


def test_rivals_are_those_who_acted_on_the_same_artefact() -> None:
    """Each campaign knows the first acts of the others there, whatever else they did, and nothing from another year."""
    mine = [tamper(0, "1", "x"), kill(1, "2", "x")]
    theirs = [tamper(day, str(10 + day), "y", owner="u013") for day in range(1, 8)]
    below = tamper(2, "30", "z", owner="u014", named=False)
    grouping = grouping_of([*mine, *theirs, below, tamper(300, "40", "z", owner="u016")])
    suspects = {members[0].id: members[0].finding.suspect for members in grouping.campaigns()}
    rivals = {suspects[founder]: [each.id for each in others] for founder, others in grouping.rivals().items()}
    assert set(rivals["x"]) == {below.id, *(each.id for each in theirs[:RIVAL_MAX])}
    assert set(rivals["y"]) == {mine[0].id, below.id}
    assert rivals["z"] == [mine[0].id, *(each.id for each in theirs[:RIVAL_MAX])]


def test_each_of_two_campaigns_of_one_account_knows_the_rival_between_them() -> None:
    """Who acted within the gap of both is the rival of both."""
    first, between, second = tamper(0, "1", "x"), tamper(40, "2", "y", owner="u013"), tamper(80, "3", "x")
    grouping = grouping_of([first, between, second])
    assert [[each.id for each in members] for members in grouping.campaigns()] == [[first.id], [between.id], [second.id]]
    rivals = {founder: [each.id for each in others] for founder, others in grouping.rivals().items()}
    assert rivals == {first.id: [between.id], between.id: [first.id, second.id], second.id: [between.id]}


def test_of_a_file_that_all_wrote_the_first_others_are_rivals() -> None:
    """Else each of them would weigh all of them."""
    wrote = [tamper(number / 100, str(number), f"s{number:02}", owner="u013") for number in range(RIVALS_MAX + 5)]
    grouping = grouping_of(wrote)
    grouping.campaigns()
    found = [{each.finding.suspect for each in others} for others in grouping.rivals().values()]
    assert len(found) == len(wrote)
    assert found[0] == {f"s{number:02}" for number in range(1, RIVALS_MAX + 1)}
    assert found[-1] == {f"s{number:02}" for number in range(RIVALS_MAX + 1)}


def test_nothing_is_left_of_what_was_taken_back() -> None:
    """A worker runs for months, and each finding has records and files of its own."""
    grouping = Grouping()
    for number, suspect in enumerate(["x", "y", ""] * 4):
        told = linked(tamper(number, str(number), suspect, f"/ckpt/{number}.pt"))
        grouping.put(told)
        grouping.campaigns()
        grouping.rivals()
        grouping.drop(told.id)
    assert grouping.campaigns() == []
    assert not any(vars(grouping).values())


def test_each_member_says_what_ties_it() -> None:
    """For the reader who doubts."""
    one, other = kill(0, "1", "x"), kill(1, "2", "x")
    links = links_of([linked(one), linked(other)])
    assert links[other.id] == (
        "suspect+alert",
        "suspect+means",
        "suspect+victim",
        "suspect",
        "means+victim",
    )


def test_every_detector_has_its_family() -> None:
    """A new one is asked for its row, one that is gone leaves none, and every means has words for the title."""
    assert {each.meta.id for each in registry()} == FAMILIES.keys()
    assert {each.means for each in FAMILIES.values()} == WORDS.keys()


FINDINGS = st.lists(
    st.builds(
        lambda make, day, job, suspect, owner: make(day, str(job), suspect, owner=owner),
        st.sampled_from([kill, cancel, tamper]),
        st.integers(0, 120),
        st.integers(1, 6),
        st.sampled_from(["", "x", "y", "z"]),
        st.sampled_from(["u012", "u013"]),
    ),
    max_size=12,
    unique_by=lambda each: each.id,  # the set holds one finding per id, as the stage does
)


@given(FINDINGS, st.randoms(use_true_random=False))
def test_order_does_not_matter(findings: list[Finding], chance: random.Random) -> None:
    """The same set, the same campaigns, whichever came first or twice."""
    shuffled = [*findings, *findings[:3]]
    chance.shuffle(shuffled)
    assert grouped(shuffled) == grouped(findings)


@given(FINDINGS)
def test_a_campaign_suspects_one_account_or_none(findings: list[Finding]) -> None:
    """However findings hang together; and each of them is in one campaign."""
    campaigns = grouped(findings)
    assert sorted(each.id for members in campaigns for each in members) == sorted(each.id for each in findings)
    assert all(len({each.finding.suspect for each in members} - {""}) <= 1 for members in campaigns)


CHANGES = st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["put", "drop", "ask"])), max_size=40)


@given(FINDINGS, FINDINGS, CHANGES)
def test_what_is_kept_between_changes_does_not_show(
    findings: list[Finding], corrected: list[Finding], changes: list[tuple[int, str]]
) -> None:
    """Found, corrected, taken back and asked for in any order: campaigns and rivals are those of the set that is left."""
    pool, grouping, held = [*findings, *corrected], Grouping(), dict[str, Finding]()
    for place, change in changes:
        if change == "ask":
            grouping.campaigns()
            grouping.rivals()
        elif place < len(pool) and change == "put":
            held[pool[place].id] = pool[place]
            grouping.put(linked(pool[place]))
        elif place < len(pool):
            held.pop(pool[place].id, None)
            grouping.drop(pool[place].id)
    fresh = grouping_of([*held.values()])
    assert grouping.campaigns() == fresh.campaigns()
    assert grouping.rivals() == fresh.rivals()
