"""Which findings belong together: links, and that neither order nor bridges matter."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.detector import registry
from pipeline.incidents.campaigns import Linked, cluster_findings, linked, links_of
from pipeline.incidents.families import FAMILIES, WORDS
from pipeline.model.finding import Finding
from tests.unit.incidents.campaign import borrowed, cancel, kill, tamper


def grouped(findings: Sequence[Finding]) -> list[tuple[Linked, ...]]:
    """Campaigns, of one finding per id, as the stage holds them."""
    return cluster_findings({each.id: linked(each) for each in findings}.values())


def jobs(findings: Sequence[Finding]) -> list[list[str]]:
    """The raw job ids of each campaign."""
    campaigns = [[each.finding for each in members] for members in grouped(findings)]
    return [[each.attempt.job if each.attempt else each.subject.name for each in members] for members in campaigns]


ROWS = [
    ("one suspect, the same means, two victims", [kill(0, "1", "x"), kill(5, "2", "x", owner="u013")], [["1", "2"]]),
    ("one suspect, the same victim, two means", [kill(0, "1", "x", named=False), tamper(5, "2", "x")], [["1", "2"]]),
    ("one suspect above the gate, nothing else in common", [kill(0, "1", "x"), tamper(5, "2", "x", owner="u013")], [["1", "2"]]),
    ("two suspects, the same victim", [kill(0, "1", "x"), kill(1, "2", "y")], [["1"], ["2"]]),
    ("two suspects, one artefact", [tamper(0, "1", "x"), tamper(1, "2", "y", owner="u013")], [["1", "2"]]),
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
    """As evidence asks for it: the artefact ties what had nothing in common."""
    one, other = tamper(0, "1", "x", "/ckpt/a.pt"), tamper(1, "2", "y", "/ckpt/b.pt", owner="u013")
    tie = tamper(2, "3", "x", "/ckpt/b.pt", owner="u014")
    assert jobs([one, other]) == [["1"], ["2"]]
    assert jobs([one, other, tie]) == [["1", "2", "3"]]


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
