"""What a partition remembers: merging does not depend on order or repetition, and the news replay to the same."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.facts import Fact
from pipeline.model.ids import rank
from pipeline.stream.cases import DROPPED, Cases, Pack

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


# --- packing ----------------------------------------------------------------------------------------------------------------------

CASE = b"main\x1f7"
PACKED_BY_VERSION_2 = "9b347961e2110e0608603c2280146ee0809cbc30e908c3114e787e0600"
ACTS = st.lists(
    st.tuples(st.just("merge"), FACTS)
    | st.tuples(st.just("drop"), st.sampled_from(["", "a", "b", "c"]))
    | st.tuples(st.just("seal"), st.integers(1, 9))
    | st.tuples(st.just("pack"), st.sets(st.sampled_from(["a", "b", "c"])))
    | st.tuples(st.just("ask"), st.just(CASE)),
    max_size=25,
)


def do(cases: Cases, act: tuple[str, Any], *, packing: bool = True) -> bool:
    """One act; what it answered."""
    kind, what = act
    if kind == "merge":
        return cases.merge(what)
    if kind == "drop":
        return cases.drop(CASE, what)
    if kind == "ask":
        return bool(cases.of(CASE))
    if packing:
        return cases.seal(CASE, what) if kind == "seal" else cases.pack(CASE, sorted(what), 5)
    return False


@given(ACTS)
def test_packed_or_not_the_same_is_known(acts: list[tuple[str, Any]]) -> None:
    """Merging and forgetting answer the same, and the same facts are there."""
    packed, plain = Cases(), Cases()
    for act in acts:
        answers = do(packed, act), do(plain, act, packing=False)
        assert act[0] in ("seal", "pack") or answers[0] == answers[1]
        assert content(packed) == content(plain)
        assert (set(packed), len(packed)) == (set(plain), len(plain))


@given(ACTS, st.integers(0, 9))
def test_the_news_replay_to_the_same_packs(acts: list[tuple[str, Any]], before: int) -> None:
    """Also behind a base that holds what was packed by then, and when packs are forgotten unopened."""
    cases, log = Cases(), list[Fact]()
    for act in acts:
        do(cases, act)
        log += cases.take_news()
    base = Cases(Fact(case, name, *pair) for case in cases for name, pair in cases.open(case).items())
    for case in cases:
        for pack in cases.packs(case):
            base.put(pack)
    for again in (Cases(log), base):
        assert content(again) == content(cases)
        assert [again.sealed(case) for case in sorted(again)] == [cases.sealed(case) for case in sorted(cases)]
        assert {pack for case in again for pack in again.packs(case)} == {pack for case in cases for pack in cases.packs(case)}
    rest = Cases(log)
    assert rest.forget(CASE, before) == cases.forget(CASE, before)
    assert content(rest) == content(cases)


def test_a_sealed_case_is_small_and_says_until_when() -> None:
    """What is said over and over costs little; a later fact opens the case, which remembers all of it."""
    cases = Cases(Fact(CASE, f"{number:032x}", b"", b"checkpoint_saved" * 20) for number in range(50))
    assert cases.sealed(CASE) == 0
    assert cases.seal(CASE, 77)
    assert not cases.seal(CASE, 77)
    (pack,) = cases.packs(CASE)
    assert len(pack.packed) < 50 * (16 + 16)
    assert (cases.sealed(CASE), len(cases.open(CASE)), len(cases.of(CASE))) == (77, 0, 50)
    cases.merge(Fact(CASE, "late", b"", b"x"))
    assert (cases.sealed(CASE), len(cases.open(CASE)), len(cases.of(CASE))) == (0, 1, 51)


def test_packs_are_forgotten_by_their_time() -> None:
    """Unopened; what is packed later or open stays."""
    cases = Cases(Fact(CASE, name, b"", b"x") for name in "abc")
    cases.pack(CASE, ["a"], 10)
    cases.pack(CASE, ["b"], 20)
    assert (cases.forget(CASE, 9), cases.forget(CASE, 10), set(cases.of(CASE))) == (False, True, {"b", "c"})
    assert cases.merge(Fact(CASE, "a", b"", b"x"))  # as if never told


def test_packs_written_by_an_older_release_are_read() -> None:
    """The words that packing goes by are part of the layout: change them, and no state that was written can be read."""
    old = bytes.fromhex(PACKED_BY_VERSION_2)
    cases = Cases()
    cases.put(Pack(CASE, 9, b"", old))
    assert cases.of(CASE) == {"a": (rank(1), b"checkpoint_saved"), "b": (b"", b"owner_uid")}
