"""Campaigns as they are grouped now in; which of them are to be built anew, and when the others want to be, out.

Whatever changes a campaign may change all that is said of it, and to say it costs as much as the campaign is large.  So one that is hardly
another than it was waits, the longer the longer it has lasted; a cluster of many findings is grouped anew, and the counts of ended attempts
are looked at, after a while too.  A campaign of 5,000 findings over two months is built some two hundred times instead of ten thousand.

    new, merged, split, a twentieth changed      at once             3 findings and a fourth           at once
    anything else; a window closes; a day ends   after a while       1,000 in a month and one more     within 16 hours
    an account proves to be borrowed             at once, wherever its holder is suspected
    another account acted at the same artefact   at once: whoever was named may not be any more
    a source is heard for the first time         at once, all of them
    attempts changed that it rests on            after a while       other attempts than those        never

Waits are counted from the newest content, so that they have passed when the marks of all that was read have.  The last day of a campaign is
looked at again when it is over: until then nobody can say on which sources it was silent.
Holds: nothing in here must survive; whoever is not built anew was said before; what waits has asked to be looked at again.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from pipeline.incidents.asked import Asked, Questions
from pipeline.incidents.campaigns import Linked
from pipeline.model.incident import Incident
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source

LOOK_MS = 600_000
WAIT_MS_MAX = 57_600_000  # 16 h: less than the day by which a channel that ends is ahead of what was read from it
LASTED = 10  # a campaign waits for this part of the time that it has lasted
COST = 50  # so many findings and attempts in all campaigns are worth one LOOK_MS more
SHARE = 20  # one finding of a campaign in so many must have changed for it to be built at once
GROUPED_SHARE = 500  # and of a cluster for campaigns to be grouped at once


class Rests(msgspec.Struct, frozen=True):
    """What an incident rests on beside its findings."""

    asked: Asked  # of the attempts
    suspects: frozenset[str]
    places: frozenset[str]  # addresses and keys of which it was asked who else comes so
    unheard: frozenset[tuple[Source, int]]  # days on which a source was not heard
    around: tuple[object, ...]  # what is the same for all incidents, and changes seldom


class Built(msgspec.Struct, frozen=True):
    """A campaign as it was built last."""

    campaign: Sequence[Linked]
    members: dict[str, Linked]
    rivals: tuple[Linked, ...]
    at: int  # event time up to which things were known
    wait_ms: int
    cost: int  # findings and attempts that were looked at
    closes_at: int  # when a window of it closes, and its last day is over; 0: all were closed
    rests: Rests


class Looks:
    """Of one cluster."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._built: dict[str, Built] = {}  # by founder
        self._home: dict[str, str] = {}  # finding -> founder of the campaign in which it was built
        self._newest = 0  # event time of what is known
        self._findings = self._attempts = 0  # that changed since they were looked at
        self._grouped = self._looked = 0  # event times up to which things were known then
        self._accounts: set[str] = set()  # of which it changed whether others had them
        self._entered: set[str] = set()  # accounts of which further logins are known
        self._places: set[str] = set()  # addresses and keys of these
        self._around: tuple[object, ...] = ()  # what is the same for all incidents
        self._moved = False  # it is another than it was
        self._cost = 0  # of all that is built

    def finding(self, time: int, accounts: Iterable[str]) -> None:
        """One has changed; it says of these accounts that others had them, which is weighed wherever their holders are suspected."""
        self._newest, self._findings = max(self._newest, time), self._findings + 1
        self._accounts.update(accounts)

    def login(self, account: str, places: Iterable[str]) -> None:
        """More logins are known of an account, from these addresses; which is asked for with the attempts, since everybody logs in."""
        self._attempts += 1
        self._entered.add(account)
        self._places.update(places)

    def attempt(self, time: int) -> None:
        """One has changed; 0 when it was taken back."""
        self._newest, self._attempts = max(self._newest, time), self._attempts + 1

    def surrounded(self, around: tuple[object, ...]) -> bool:
        """What is the same for all incidents; True when it is another than when incidents were built."""
        if around != self._around:
            self._around, self._moved = around, self._moved or bool(self._built)
        return self._moved

    def group_at(self, findings: int) -> int:
        """When campaigns want to be grouped anew."""
        return self._grouped + LOOK_MS if 0 < self._findings * GROUPED_SHARE < findings else 0

    def all_at(self) -> int | None:
        """When it is asked of all campaigns whether they rest on what has changed; None: nothing has but findings of their own."""
        if self._accounts or self._moved:
            return 0
        wait_ms = min(LOOK_MS * (1 + self._cost // COST), WAIT_MS_MAX)
        return self._looked + wait_ms if self._attempts else None

    def begin(self, joint: int, *, asks: bool, holds: Callable[[Rests], bool]) -> None:
        """Campaigns are grouped now.  `asks`: those are built anew that rest on what no longer `holds`."""
        known = min(self._newest, joint)
        self._findings, self._grouped = 0, known
        if asks:
            for founder, built in [*self._built.items()]:
                entered = built.rests.suspects & (self._accounts | self._entered) or built.rests.places & self._places
                if entered or not (built.rests.asked.holds and holds(built.rests)):
                    self._forget(founder)
            self._attempts, self._looked, self._moved = 0, known, False
            self._accounts.clear()
            self._entered.clear()
            self._places.clear()

    def build_at(self, members: Sequence[Linked], rivals: tuple[Linked, ...] = ()) -> int | None:
        """When a campaign wants to be built anew: 0 is at once; None: it is as it was, and so are its rivals."""
        built = self._built.get(members[0].id)
        if built is None:
            return 0
        if built.campaign is members and built.rivals == rivals:
            return max(built.at + built.wait_ms, built.closes_at) if built.closes_at else None
        fresh = [each for each in members if each.id not in built.members]
        changed = sum(built.members.get(each.id) is not each for each in members)
        split = len(built.members) > len(members) - len(fresh)
        merged = any(each.id in self._home for each in fresh)
        joined = built.rivals != rivals and {each.finding.suspect for each in rivals} - {each.finding.suspect for each in built.rivals}
        if split or merged or joined or (changed and changed * SHARE >= len(members)):
            return 0
        waited = built.at + built.wait_ms
        if changed or built.rivals != rivals:
            return waited
        return max(waited, built.closes_at) if built.closes_at else None

    def done(self, members: Sequence[Linked], rivals: tuple[Linked, ...], said: Incident, rests: Rests, joint: int) -> None:
        """A campaign was built."""
        self._forget(members[0].id)
        cost = len(members) + said.scope.examined
        closes_at = max(said.closes_at, (said.last // DAY_MS + 1) * DAY_MS)
        self._cost += cost
        self._home.update((each.id, members[0].id) for each in members)
        self._built[members[0].id] = Built(
            campaign=members,
            members={each.id: each for each in members},
            rivals=rivals,
            at=min(self._newest, joint),
            wait_ms=min((said.last - said.first) // LASTED, WAIT_MS_MAX),
            cost=cost,
            closes_at=closes_at if closes_at > joint else 0,
            rests=rests,
        )

    def keep(self, founders: Iterable[str]) -> None:
        """These are all the campaigns that there are."""
        for founder in self._built.keys() - set(founders):
            self._forget(founder)

    def _forget(self, founder: str) -> None:
        built = self._built.pop(founder, None)
        if built is not None:
            self._cost -= built.cost
            self._questions.forget(built.rests.asked)
            for name in built.members:
                if self._home.get(name) == founder:
                    del self._home[name]
