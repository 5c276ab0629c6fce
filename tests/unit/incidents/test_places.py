"""Who comes from where, and by which key: the same whatever was told before, and in which order."""

import hypothesis.strategies as st
from hypothesis import given

from pipeline.incidents.places import Places
from pipeline.model.incident import LoggedIn, Way

DAYS = range(6)
BLOCK = st.frozensets(st.tuples(st.sampled_from(DAYS), st.sampled_from(("desk", "home", "key", ""))), max_size=6)
TOLD = st.tuples(st.sampled_from(("u012", "u098", "u099")), BLOCK)


def called(name: str) -> tuple[str, str]:
    """As the key and the address of a way."""
    return ("", name) if name != "key" else (name, "")


def block(pairs: frozenset[tuple[int, str]]) -> LoggedIn:
    return LoggedIn((), tuple(sorted(Way(day, "publickey", *called(name)) for day, name in pairs)))


@given(st.lists(TOLD, max_size=12), st.data())
def test_only_what_was_told_last_counts(told: list[tuple[str, frozenset[tuple[int, str]]]], data: st.DataObject) -> None:
    """Of each account: what was told of its block before is gone, and with nothing left so is all that was known."""
    places, known = Places(), dict[str, frozenset[tuple[int, str]]]()
    for account, pairs in told:
        before = known.get(account)
        changed = places.replace(account, block(before) if before is not None else None, block(pairs))
        assert changed == {place for _, place in (before or frozenset()) | pairs} - {""}
        known[account] = pairs
    days = range(*sorted((data.draw(st.sampled_from(DAYS)), data.draw(st.sampled_from(DAYS)))))
    for place in ("desk", "home", "key"):
        seen = [[(day, at) for day, at in pairs if day in days and at] for account, pairs in known.items() if account != "u099"]
        counts = ((sum(at == place for _, at in of), len({day for day, _ in of})) for of in seen)
        others = [(each.here, each.anywhere) for each in places.others(place, ["u099"], days)]
        assert sorted(others) == sorted(each for each in counts if each[0])
    for account, pairs in known.items():
        places.replace(account, block(pairs), None)
    assert not [*places.others("desk", (), range(100))]
