"""Facts of one cluster's incidents in; findings, ended attempts, what was said, and how campaigns were built last, out.

Derived from the stage's cases and built again after a restart.  Which attempts a full case keeps is decided by their ends, never by
arrival: the newest stay.
"""

from collections.abc import Iterable, Iterator

from pipeline.incidents.attempts import Attempts, time_of
from pipeline.incidents.campaigns import Linked, linked
from pipeline.incidents.families import is_signal
from pipeline.incidents.grouping import Grouping
from pipeline.incidents.looks import Looks
from pipeline.incidents.places import Places
from pipeline.model.finding import Finding
from pipeline.model.incident import Found, LoggedIn, account_of, decode_in_case
from pipeline.model.told import Emitted

HEARD = "heard/"  # begins the ids of facts about days on which a source was heard
EMITTED = "emitted/"


class IncidentsIndex:
    """Everything told of one cluster."""

    def __init__(self, facts_max: int) -> None:
        self._facts_max = facts_max
        self.findings: dict[str, Linked] = {}  # by fact id
        self.grouping = Grouping()
        self.signals: dict[str, Finding] = {}  # of these, that an account was in others' hands
        self.attempts = Attempts()  # by fact id too, which is the attempt's name
        self.emitted: dict[str, Emitted] = {}
        self.heard: set[str] = set()
        self.logins: dict[str, dict[str, LoggedIn]] = {}  # account -> fact id -> on which days somebody entered it, and how
        self.places = Places()
        self.looks = Looks(self.attempts.questions)

    def add(self, fact_id: str, body: bytes) -> str:
        """Take one fact in.  Answers with the id of the attempt that the bound pushes out, or ""."""
        if fact_id.startswith(HEARD):
            self.heard.add(fact_id)
            return ""
        told = decode_in_case(body)
        if isinstance(told, Emitted):
            self.emitted[told.subject] = told
            return ""
        if isinstance(told, LoggedIn):
            account = account_of(fact_id)
            blocks = self.logins.setdefault(account, {})
            self.looks.login(account, self.places.replace(account, blocks.get(fact_id), told))
            blocks[fact_id] = told
            return ""
        if isinstance(told, Found):
            self._changed(told.finding, fact_id)
            self.findings[fact_id] = new = linked(told.finding)
            self.grouping.put(new)
            if is_signal(told.finding):
                self.signals[fact_id] = told.finding
            return ""
        self.attempts.put(fact_id, told)
        self.looks.attempt(time_of(told))
        if len(self.attempts) <= self._facts_max:
            return ""
        out = self.attempts.oldest()
        self.attempts.drop(out)
        return out

    def void(self, fact_id: str) -> None:
        """What no longer holds."""
        known = self.findings.get(fact_id)
        if known is not None:
            self._changed(known.finding, fact_id)
            del self.findings[fact_id]
            self.grouping.drop(known.id)
        else:
            self.attempts.drop(fact_id)
            self.looks.attempt(0)

    def logins_of(self, accounts: Iterable[str]) -> Iterator[LoggedIn]:
        """What is known of how these were entered."""
        for account in accounts:
            yield from self.logins.get(account, {}).values()

    def logins_before(self, day: int) -> Iterator[str]:
        """Forget the blocks of logins that end before this day; yields the fact ids to drop."""
        for account, blocks in [*self.logins.items()]:
            for fact_id in [name for name, known in blocks.items() if max((*known.days, *(way.day for way in known.ways))) < day]:
                self.places.replace(account, blocks.pop(fact_id), None)
                yield fact_id
            if not blocks:
                del self.logins[account]

    def _changed(self, finding: Finding, fact_id: str) -> None:
        said = [each for each in (finding, self.signals.pop(fact_id, None)) if each is not None and is_signal(each)]
        self.looks.finding(finding.effect_time, [each.subject.name for each in said])

    @property
    def full(self) -> bool:
        """Are as many attempts held as the settings allow?"""
        return len(self.attempts) >= self._facts_max
