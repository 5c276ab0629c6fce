"""Ids: two ways to the same digest."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.ids import Digester, digest

TEXT = st.one_of(st.text(max_size=20), st.sampled_from(["", "\udcff", "a:1,b", "1:a,"]))


@given(st.lists(TEXT, max_size=4), st.integers(-1, 2**53), st.integers(-1, 2**40), st.binary(max_size=40), TEXT)
def test_an_event_is_named_by_its_line_as_by_its_parts(begin: list[str], time: int, place: int, payload: bytes, kind: str) -> None:
    """Ids are stored and compared over releases: the quick way must never give another one."""
    assert Digester(*begin).of_line(time, place, payload, kind) == digest(*begin, time, place, payload, kind)


@given(st.lists(TEXT, max_size=4), TEXT, TEXT)
def test_an_event_is_named_by_its_source_as_by_its_parts(begin: list[str], own_id: str, kind: str) -> None:
    """The same for sources that name their events."""
    assert Digester(*begin).of_own(own_id, kind) == Digester(*begin).digest(own_id, kind) == digest(*begin, own_id, kind)
