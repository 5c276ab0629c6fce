"""Which logins are unlike those of an account's owner: histories that can be read, and what is said of their last days."""

import pytest

from pipeline.incidents.logins import FOREIGN, NEW_PLACE, NEW_WAY, OTHER, Logins
from pipeline.model.incident import BLOCK_DAYS, BY_OTHER, MANY, LoggedIn, Way, short

OWN, DAY = "SHA256:own", 20_000
HABIT = [(day, "publickey", OWN, "desk") for day in range(-12, 0)]
OFFICES = [(day, "publickey", OWN, f"lease-{day}") for day in range(-12, 0)]
SU = (0, f"{BY_OTHER}su root", "", "")

Told = tuple[int, str, str, str]  # day from DAY, method, key, address
CASES: dict[str, tuple[list[Told], set[str]]] = {
    "as ever": ([*HABIT, (0, "publickey", OWN, "desk")], set()),
    "nobody's key": ([*HABIT, (0, "publickey", "SHA256:nobodys", "desk")], {FOREIGN}),
    "nobody's key, and no habit": ([(0, "publickey", "SHA256:nobodys", "desk")], {FOREIGN}),
    "his key from elsewhere": ([*HABIT, (0, "publickey", OWN, "abroad")], {NEW_PLACE}),
    "the same from his desk, too": ([*HABIT, (0, "publickey", OWN, "desk"), (0, "publickey", OWN, "abroad")], {NEW_PLACE}),
    "his key from elsewhere, where he was last week": ([*HABIT, (-7, "publickey", OWN, "abroad"), (0, "publickey", OWN, "abroad")], set()),
    "from elsewhere, and he is somewhere else each day": ([*OFFICES, (0, "publickey", OWN, "abroad")], set()),
    "from elsewhere, and little is known of him": ([*HABIT[-4:], (0, "publickey", OWN, "abroad")], set()),
    "by password": ([*HABIT, (0, "password", "", "desk")], {NEW_WAY}),
    "by password from elsewhere": ([*HABIT, (0, "password", "", "abroad")], {NEW_WAY, NEW_PLACE}),
    "by password, as he does at times": ([*HABIT, (-3, "password", "", "desk"), (0, "password", "", "desk")], set()),
    "by password, as he did long ago": ([*HABIT, (-40, "password", "", "desk"), (0, "password", "", "desk")], {NEW_WAY}),
    "an address that no record tells": ([*HABIT, (0, "publickey", OWN, "")], set()),
    "from so many that they are not told": ([*HABIT, (0, MANY, OWN, "")], set()),
    "from so many, a foreign key among them": ([*HABIT, (0, MANY, OWN, ""), (0, MANY, "SHA256:nobodys", "")], {FOREIGN}),
    "somebody becomes his user": ([*HABIT, SU], {OTHER}),
    "somebody becomes his user, and no habit": ([SU], {OTHER}),
    "root's script becomes his user each night": ([*HABIT, *((day, *SU[1:]) for day in range(-12, 1))], set()),
}


def logins(told: list[Told], *keys: str) -> Logins:
    """As the stage identities tells them, in blocks of days."""
    blocks: dict[int, list[Way]] = {}
    for day, method, key, place in told:
        blocks.setdefault((DAY + day) // BLOCK_DAYS, []).append(Way(DAY + day, method, short(key), short(place)))
    return Logins((LoggedIn(tuple(sorted({way.day for way in ways})), tuple(sorted(ways))) for ways in blocks.values()), keys)


@pytest.mark.parametrize(("told", "expected"), CASES.values(), ids=CASES)
def test_what_is_unlike_the_owner(told: list[Told], expected: set[str]) -> None:
    """Of the last day, and of it alone."""
    assert logins(told, OWN).unlike(DAY, DAY) == tuple((DAY, what) for what in sorted(expected))


def test_a_key_counts_as_new_where_none_of_his_is_known() -> None:
    """As any other way does; and nothing is foreign."""
    told = [*HABIT, (0, "publickey", "SHA256:another", "desk")]
    assert logins(told).unlike(DAY, DAY) == ((DAY, NEW_WAY),)


def test_who_may_have_entered() -> None:
    """The owner, but for foreign keys and other people; of what a release before told, which left out foreign keys, each day counts."""
    told = logins([(0, "publickey", OWN, "desk"), (1, "publickey", "SHA256:nobodys", "desk"), (2, *SU[1:])], OWN)
    assert [told.entered(DAY + day, DAY + day) for day in range(4)] == [True, False, False, False]
    assert told.entered(DAY - 7, DAY)
    before = Logins([LoggedIn((DAY,))], (OWN,))
    assert (before.entered(DAY, DAY), before.entered(DAY + 1, DAY + 7), before.unlike(DAY, DAY)) == (True, False, ())
