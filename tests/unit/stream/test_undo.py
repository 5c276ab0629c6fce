"""What was done to cases is taken back whole: the facts, the packs, and the news of them."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.facts import Fact
from pipeline.model.ids import rank
from pipeline.stream.cases import FULL, LATE, Cases

CASES = st.sampled_from([b"main\x1f7", b"main\x1f8", b"main\x1f9"])
IDS = st.sampled_from(["a", "b", "c"])
DEEDS = st.one_of(
    st.tuples(st.just("merge"), CASES, IDS, st.integers(1, 9)),
    st.tuples(st.just("drop"), CASES, IDS | st.just("")),
    st.tuples(st.just("leave_out"), CASES, IDS, st.sampled_from([FULL, LATE])),
    st.tuples(st.just("seal"), CASES, st.integers(1, 3)),
    st.tuples(st.just("pack"), CASES, st.lists(IDS, max_size=2), st.integers(1, 3)),
    st.tuples(st.just("forget"), CASES, st.integers(0, 3)),
)


def do(cases: Cases, deeds: Sequence[tuple[Any, ...]]) -> None:
    """As a stage does."""
    for name, case, *rest in deeds:
        if name == "merge":
            cases.merge(Fact(case, rest[0], rank(rest[1]), b"body"))
        else:
            getattr(cases, name)(case, *rest)


def known(cases: Cases) -> tuple[Any, ...]:
    """All of it, as it stands."""
    facts = sorted((fact.case, fact.id, fact.rank, fact.body) for fact in cases.facts())
    return facts, cases.left_out, {case: (dict(cases.open(case)), cases.packs(case), cases.sealed(case)) for case in cases.every()}


@given(before=st.lists(DEEDS, max_size=12), undone=st.lists(DEEDS, max_size=12), after=st.lists(DEEDS, max_size=12))
def test_undone_it_is_as_if_it_had_not_begun(
    before: list[tuple[Any, ...]], undone: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    """Also for what comes next, and for whoever reads the news."""
    usual, cases = Cases(), Cases()
    do(usual, before)
    do(cases, before)
    cases.begin()
    do(cases, undone)
    cases.undo()
    assert known(cases) == known(usual)
    for each in (usual, cases):
        each.begin()
        do(each, after)
        each.end()
    assert known(cases) == known(usual)
    assert cases.take_news() == usual.take_news()
