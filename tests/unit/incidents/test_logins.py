"""Which logins are unlike those of an account's owner: histories that can be read, and what is said of their last days."""

from collections.abc import Sequence

import pytest

from pipeline.incidents.logins import COLLEAGUES, FOREIGN, KEYLESS, NEW_PLACE, NEW_WAY, OTHER, Logins
from pipeline.incidents.places import Beside
from pipeline.model.incident import BLOCK_DAYS, BY_OTHER, MANY, LoggedIn, Way, short
from pipeline.model.instants import DAY_MS, HOUR_MS

OWN, DAY = "SHA256:own", 20_000
HABIT = [(day, "publickey", OWN, "desk") for day in range(-12, 0)]
OFFICES = [(day, "publickey", OWN, f"lease-{day}") for day in range(-12, 0)]
RETIRED = "SHA256:retired"
SU = (0, f"{BY_OTHER}su u098", "", "")

Told = tuple[int, str, str, str]  # day from DAY, method, key, address
CASES: dict[str, tuple[list[Told], set[str]]] = {
    "as ever": ([*HABIT, (0, "publickey", OWN, "desk")], set()),
    "for the first time": ([(0, "publickey", OWN, "desk")], set()),
    "nobody's key": ([*HABIT, (0, "publickey", "SHA256:nobodys", "desk")], {FOREIGN}),
    "nobody's key, for the first time": ([(0, "publickey", "SHA256:nobodys", "desk")], {FOREIGN}),
    "a key that was his until last week": ([*HABIT, (0, "publickey", RETIRED, "desk")], {FOREIGN}),
    "his key from elsewhere": ([*HABIT, (0, "publickey", OWN, "abroad")], {NEW_PLACE}),
    "his key from elsewhere, and four days are known": ([*HABIT[-4:], (0, "publickey", OWN, "abroad")], set()),
    "the same from his desk, too": ([*HABIT, (0, "publickey", OWN, "desk"), (0, "publickey", OWN, "abroad")], {NEW_PLACE}),
    "from where he was once before": ([*HABIT, (-8, "publickey", OWN, "abroad"), (0, "publickey", OWN, "abroad")], set()),
    "from elsewhere, and he had moved once": (
        [*HABIT, (-5, "publickey", OWN, "hotel"), (0, "publickey", OWN, "abroad")], {NEW_PLACE},
    ),
    "from elsewhere, and he had moved twice": (
        [*HABIT, (-5, "publickey", OWN, "hotel"), (-3, "publickey", OWN, "fair"), (0, "publickey", OWN, "abroad")], set(),
    ),
    "from elsewhere, and he is somewhere else each day": ([*OFFICES, (0, "publickey", OWN, "abroad")], set()),
    "by password": ([*HABIT, (0, "password", "", "desk")], {KEYLESS, NEW_WAY}),
    "by password, for the first time": ([(0, "password", "", "desk")], {KEYLESS}),
    "by password from elsewhere": ([*HABIT, (0, "password", "", "abroad")], {KEYLESS, NEW_WAY, NEW_PLACE}),
    "by password, as he did once": ([*HABIT, (-8, "password", "", "desk"), (0, "password", "", "desk")], {KEYLESS, NEW_WAY}),
    "by password, as he mostly does": ([*((day, "password", "", "desk") for day in range(-12, 1))], set()),
    "by password, as he did long ago": ([*HABIT, (-40, "password", "", "desk"), (0, "password", "", "desk")], {KEYLESS, NEW_WAY}),
    "an address that no record tells": ([*HABIT, (0, "publickey", OWN, "")], set()),
    "from more addresses than are told": ([*HABIT, (0, MANY, OWN, "")], {NEW_WAY}),
    "from elsewhere, after a day of too many": ([*HABIT, (-8, MANY, OWN, ""), (0, "publickey", OWN, "abroad")], {NEW_PLACE}),
    "a robot's, as each day": ([*((day, MANY, OWN, "") for day in range(-12, 1))], set()),
    "from so many, a foreign key among them": ([(0, MANY, OWN, ""), (0, MANY, "SHA256:nobodys", "")], {FOREIGN}),
    "somebody becomes his user": ([*HABIT, SU], {OTHER}),
    "somebody becomes his user, and nothing is known of him": ([SU], {OTHER}),
    "a script becomes his user each night": ([*HABIT, *((day, *SU[1:]) for day in range(-12, 1))], set()),
}  # fmt: skip


def of(key: str) -> tuple[str, int, int]:
    """Whose it is always, or was until last week."""
    return key, 0, (DAY - 7) * DAY_MS if key == RETIRED else 2**62


def evening(day: int) -> int:
    """The last instant of a day from DAY, UTC ms."""
    return (DAY + day + 1) * DAY_MS - 1


def logins(told: list[Told], *keys: str, others: Sequence[Beside] = ()) -> Logins:
    """As the stage identities tells them, in blocks of days."""
    blocks: dict[int, list[Way]] = {}
    for day, method, key, place in told:
        blocks.setdefault((DAY + day) // BLOCK_DAYS, []).append(Way(DAY + day, method, short(key), short(place)))
    said = (LoggedIn(tuple(sorted({way.day for way in ways})), tuple(sorted(ways))) for ways in blocks.values())
    return Logins(said, map(of, keys), lambda *_: others)


@pytest.mark.parametrize(("told", "expected"), CASES.values(), ids=CASES)
def test_what_is_unlike_the_owner(told: list[Told], expected: set[str]) -> None:
    """Of the last day, and of it alone."""
    assert logins(told, OWN, RETIRED).unlike(DAY, DAY) == tuple((DAY, what) for what in sorted(expected))


def beside(here: int, anywhere: int, last: int = 0, *, member: bool = True) -> Beside:
    """Another account, entered from the address on so many days."""
    return Beside(here, anywhere, DAY + last, "u098", member)


BESIDE: dict[str, tuple[list[Told], list[Beside], bool]] = {
    "nobody else comes from there": ([(0, "publickey", OWN, "desk")], [], False),
    "one other does, as often": ([(0, "publickey", OWN, "desk")], [beside(1, 1)], True),
    "one other did, weeks ago": ([(0, "publickey", OWN, "desk")], [beside(1, 1, -20)], False),
    "an administrator does": ([(0, "publickey", OWN, "desk")], [beside(9, 9, member=False)], False),
    "one other works there": ([*HABIT[-4:], (0, "publickey", OWN, "abroad")], [beside(20, 24)], True),
    "one other comes from there now and then": ([*HABIT[-4:], (0, "publickey", OWN, "abroad")], [beside(3, 24)], False),
    "two others do": ([(0, "publickey", OWN, "desk")], [beside(1, 1), beside(1, 1)], False),
    "two others do, and one hardly": ([(0, "publickey", OWN, "desk")], [beside(12, 12), beside(3, 20)], True),
    "one other works there, too": ([*HABIT[-4:], (0, "publickey", OWN, "desk")], [beside(20, 20)], False),
    "one other was there less": ([*HABIT[-3:], (0, "publickey", OWN, "desk")], [beside(3, 3)], False),
}


@pytest.mark.parametrize(("told", "others", "expected"), BESIDE.values(), ids=BESIDE)
def test_an_address_is_a_colleagues(told: list[Told], others: list[Beside], *, expected: bool) -> None:
    """By how many days it was seen of each other account, this account's hardly."""
    assert ((DAY, COLLEAGUES) in logins(told, OWN, others=others).unlike(DAY, DAY)) is expected


def test_a_key_counts_as_new_where_none_of_his_is_known() -> None:
    """As any other way does; and nothing is foreign."""
    told = [*HABIT, (0, "publickey", "SHA256:another", "desk")]
    assert logins(told).unlike(DAY, DAY) == ((DAY, NEW_WAY),)


def test_a_key_is_his_as_long_as_the_map_says() -> None:
    """What was done by it in its time was done by his key."""
    told = logins([*HABIT, (-10, "publickey", RETIRED, "desk"), (-1, "publickey", RETIRED, "desk")], OWN, RETIRED)
    assert [(day - DAY, what) for day, what in told.unlike(DAY - 12, DAY) if what == FOREIGN] == [(-1, FOREIGN)]


def test_who_may_have_entered() -> None:
    """The owner, but for foreign keys and other people; of what a release before told, which left out foreign keys, each day counts."""
    told = logins([(0, "publickey", OWN, "desk"), (1, "publickey", "SHA256:nobodys", "desk"), (2, *SU[1:])], OWN)
    assert [told.entered(DAY + day, evening(day)) for day in range(4)] == [True, False, False, False]
    assert told.entered(DAY - 7, evening(0))
    before = Logins([LoggedIn((DAY,))], [of(OWN)])
    assert (before.entered(DAY, evening(0)), before.entered(DAY + 1, evening(7)), before.unlike(DAY, DAY)) == (True, False, ())


def test_who_comes_later_was_not_there() -> None:
    """A login counts from its instant on; one of a day before for the whole of the next."""
    noon = 12 * HOUR_MS
    came = Logins([LoggedIn((DAY,), (Way(DAY, "publickey", short(OWN), "", noon),))], [of(OWN)])
    assert [came.entered(DAY - 7, DAY * DAY_MS + at) for at in (0, noon - 1, noon, DAY_MS)] == [False, False, True, True]
