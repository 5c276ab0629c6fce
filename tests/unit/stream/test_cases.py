"""What a partition remembers: merging does not depend on order or repetition, and the news replay to the same."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.facts import Fact
from pipeline.model.ids import rank
from pipeline.stream.cases import DROPPED, Cases

FACTS = st.builds(
    Fact,
    case=st.sampled_from([b"main\x1f7", b"main\x1f8"]),
    id=st.sampled_from(["a", "b", "c"]),
    rank=st.integers(0, 3).map(rank) | st.just(b""),
    body=st.sampled_from([b"", b"x", b"y", b"zz"]),
)


def held(facts: Sequence[Fact]) -> set[tuple[bytes, str, bytes, bytes]]:
    """What is known after these facts."""
    return content(Cases(facts))


def content(cases: Cases) -> set[tuple[bytes, str, bytes, bytes]]:
    return {(fact.case, fact.id, fact.rank, fact.body) for fact in cases.facts()}


@given(st.lists(FACTS, max_size=12).flatmap(lambda facts: st.tuples(st.just(facts), st.permutations(facts))))
def test_order_does_not_matter(orders: tuple[list[Fact], list[Fact]]) -> None:
    """merge(a, b) == merge(b, a)."""
    assert held(orders[0]) == held(orders[1])


@given(st.lists(FACTS, max_size=12))
def test_repetition_does_not_matter(facts: list[Fact]) -> None:
    """merge(a, a) == a; and the second time nothing is new."""
    cases = Cases(facts)
    once = content(cases)
    assert not any(cases.merge(fact) for fact in facts)
    assert content(cases) == once
    assert cases.take_news() == []


@given(
    st.lists(FACTS | st.builds(Fact, case=st.just(b"main\x1f7"), id=st.sampled_from(["a", ""]), rank=st.just(DROPPED), body=st.just(b"")))
)
def test_the_news_replay_to_the_same(facts: list[Fact]) -> None:
    """A restart from the deltas knows what was known; nothing of it is news again."""
    cases = Cases()
    log: list[Fact] = []
    for fact in facts:
        cases.merge(fact)
        log += cases.take_news()
    again = Cases(log)
    assert content(again) == content(cases)
    assert again.take_news() == []


@given(st.lists(FACTS, max_size=12))
def test_a_base_holds_everything(facts: list[Fact]) -> None:
    """What `facts` gives is enough to build the cases again."""
    assert held(list(Cases(facts).facts())) == held(facts)


def test_the_greater_rank_wins_then_the_greater_body() -> None:
    """Whatever came first; a void of higher rank takes a body's place."""
    low, high, void = (Fact(b"c", "a", rank(number), body) for number, body in ((1, b"x"), (1, b"y"), (2, b"")))
    assert held([high, low]) == {(b"c", "a", rank(1), b"y")}
    assert held([void, low, high]) == {(b"c", "a", rank(2), b"")}


def test_only_what_changed_is_news() -> None:
    """In order, each change once."""
    cases = Cases()
    assert [cases.merge(Fact(b"c", "a", rank(number), b"x")) for number in (1, 2, 1)] == [True, True, False]
    assert [fact.rank for fact in cases.take_news()] == [rank(1), rank(2)]
    assert cases.take_news() == []


def test_what_was_dropped_is_gone_and_told() -> None:
    """One fact, then the whole case; a second drop is nothing new."""
    cases = Cases([Fact(b"c", "a", b"", b"x"), Fact(b"c", "b", b"", b"x")])
    assert (cases.drop(b"c", "a"), cases.drop(b"c", "a"), set(cases.of(b"c"))) == (True, False, {"b"})
    assert (cases.drop(b"c"), cases.drop(b"c"), b"c" in cases, len(cases)) == (True, False, False, 0)
    assert [(fact.id, fact.rank) for fact in cases.take_news()] == [("a", DROPPED), ("", DROPPED)]


def test_with_its_last_fact_a_case_goes() -> None:
    """An empty case is no case."""
    cases = Cases([Fact(b"c", "a", b"", b"x")])
    cases.drop(b"c", "a")
    assert list(cases) == []
    assert cases.of(b"c") == {}
