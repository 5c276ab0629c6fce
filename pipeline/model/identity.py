"""Who a uid or login name was at a moment, and under which ticket somebody acted.

In: the identity map and the tickets of the settings.  Out: an `Identity`; unknown names are kept as themselves (`uid:5099`), since a
guess would be an accusation.  Validity is half open: valid_from <= t < valid_to.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from pipeline.model.ids import UNSET_UID


class Identity(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A person or service, or a bare name that the map does not know."""

    id: str
    uid: int | None = None
    login: str = ""
    team: str = ""
    role: str = ""  # member | admin | service | root | "" (unknown)
    valid_from: int = 0  # UTC ms
    valid_to: int = 2**62


ROOT = Identity(id="root", uid=0, login="root", role="root")


@lru_cache(maxsize=4096)
def _unknown_uid(uid: int) -> Identity:
    return Identity(id=f"uid:{uid}", uid=uid) if uid else ROOT


class Ticket(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A change ticket or maintenance window."""

    id: str
    start: int
    end: int
    identities: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    jobs: frozenset[str] = frozenset()


class Directory:
    """The identity map of one settings digest: a pure function of (name, time)."""

    def __init__(self, identities: Sequence[Identity] = (), tickets: Sequence[Ticket] = ()) -> None:
        self._by_uid: dict[int, list[Identity]] = {}
        self._by_login: dict[str, list[Identity]] = {}
        for identity in identities:
            if identity.uid is not None:
                self._by_uid.setdefault(identity.uid, []).append(identity)
            if identity.login:
                self._by_login.setdefault(identity.login, []).append(identity)
        self._tickets = tuple(sorted(tickets, key=lambda ticket: (ticket.start, ticket.id)))

    def by_uid(self, uid: int | None, at: int) -> Identity | None:
        """The identity behind a uid at event time `at`; None for no uid or auditd's unset one."""
        if uid is None or uid == UNSET_UID:
            return None
        for identity in self._by_uid.get(uid, ()):
            if identity.valid_from <= at < identity.valid_to:
                return identity
        return _unknown_uid(uid)

    def by_login(self, login: str, at: int) -> Identity | None:
        """The identity behind a login name at event time `at`."""
        if not login:
            return None
        for identity in self._by_login.get(login, ()):
            if identity.valid_from <= at < identity.valid_to:
                return identity
        return ROOT if login == "root" else Identity(id=f"login:{login}", login=login)

    def ticket_for(self, identity: Identity, at: int, *, host: str = "", job: str = "") -> Ticket | None:
        """The first ticket that covers the act, or None.  A ticket without identities covers admins and root only."""
        for ticket in self._tickets:
            if not ticket.start <= at < ticket.end:
                continue
            if identity.id not in ticket.identities and (ticket.identities or identity.role not in ("admin", "root")):
                continue
            if (ticket.hosts and host not in ticket.hosts) or (ticket.jobs and job not in ticket.jobs):
                continue
            return ticket
        return None
