"""Who a uid, login or other name was at a moment, and under which ticket somebody acted.

In: the identity map and the tickets of the settings.  Out: an `Identity`; unknown names are kept as themselves (`uid:5099`,
`kubernetes:oidc:u017@example.org`), since a guess would be an accusation.  Validity is half open: valid_from <= t < valid_to.

Names live in kinds, because the same text means different people in different places: nobody checks that the code host's `u017` is the
cluster's.  A name is found only in the kind in which the map states it:

    kind         who names people so                  e.g.
    login        sshd, sudo, Slurm, HDFS, Lustre      u017
    kubernetes   the API server's audit log           oidc:u017@example.org, system:serviceaccount:llm:resharder
    cloud        CloudTrail, S3, MinIO                arn:aws:iam::123456789012:user/u017, an access key id
    bastion      Teleport                             u017@example.org
    git          GitHub, GitLab, Gitea                u017-dev
    key          sshd                                 SHA256:m2T...; the key's holder, whatever account it opened
    email        wherever a name has an @             u017@example.org: also found for other kinds, with or without `oidc:`

Clusters may number and name people apart: an identity's uid, logins and names at an API server are its own in its `clusters` alone, and
`Directory.of` is the map of one.  A name of the other kinds is a person's wherever it is read.

A role that somebody assumed is found by the role when the map does not name the session: the session's name is the caller's to choose,
and so no address in it is anybody's.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from pipeline.model.ids import UNSET_UID, keyed

LOGIN, KUBERNETES, CLOUD, BASTION, GIT, KEY, EMAIL = NAME_KINDS = ("login", "kubernetes", "cloud", "bastion", "git", "key", "email")
OF_CLUSTERS = frozenset({LOGIN, KUBERNETES})  # as uids: what a cluster gives
UID = "uid:"  # begins the id of a uid that nobody has
_ASSUMED_ROLE = ":assumed-role/"


class Identity(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A person or service, or a bare name that the map does not know."""

    id: str
    uid: int | None = None
    login: str = ""
    names: tuple[tuple[str, str], ...] = ()  # (kind, name): further ones
    team: str = ""
    role: str = ""  # member | admin | service | shared | root | "" (unknown)
    valid_from: int = 0  # UTC ms
    valid_to: int = 2**62
    clusters: tuple[str, ...] = ()  # in which it has uid, logins and names at the API server; empty: in all

    def is_in(self, cluster: str) -> bool:
        """Has it an account there?"""
        return not self.clusters or cluster in self.clusters

    def is_beside(self, other: "Identity") -> bool:
        """May both have accounts in one cluster?"""
        return not self.clusters or not other.clusters or not {*self.clusters}.isdisjoint(other.clusters)


ROOT = Identity(id="root", uid=0, login="root", role="root")


@lru_cache(maxsize=4096)
def _unknown_uid(uid: int) -> Identity:
    return Identity(id=f"{UID}{uid}", uid=uid) if uid else ROOT


def _unknown_login(login: str) -> Identity:
    return Identity(id=f"login:{login}", login=login)


def _away(identity: Identity) -> Identity:
    """As a cluster knows it in which it has no account."""
    return msgspec.structs.replace(
        identity, uid=None, login="", names=tuple((kind, name) for kind, name in identity.names if kind not in OF_CLUSTERS)
    )


class Ticket(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A change ticket or maintenance window."""

    id: str
    start: int
    end: int
    identities: frozenset[str] = frozenset()
    cluster: str = ""  # empty: every
    hosts: frozenset[str] = frozenset()
    jobs: frozenset[str] = frozenset()


class Directory:
    """The identity map of one settings digest: a pure function of (name, time), in one cluster or where all have the same accounts.

    `key` is the site's (`privacy.key`): what stands in the place of a name cannot be undone by trying names.  Without one it can.
    """

    def __init__(self, identities: Sequence[Identity] = (), tickets: Sequence[Ticket] = (), key: bytes = b"") -> None:
        self.identities, self.key = tuple(identities), key
        self._by_uid: dict[int, list[Identity]] = {}
        self._by_name: dict[tuple[str, str], list[Identity]] = {}
        self._by_id: dict[str, list[Identity]] = {}
        for identity in identities:
            self._by_id.setdefault(identity.id, []).append(identity)
            if identity.uid is not None:
                self._by_uid.setdefault(identity.uid, []).append(identity)
            for kind, name in names_of(identity):
                self._by_name.setdefault((kind, name), []).append(identity)
        self._tickets = tuple(sorted(tickets, key=lambda ticket: (ticket.start, ticket.id)))
        self._clusters = frozenset(cluster for identity in identities for cluster in identity.clusters)
        self._within: dict[str, Directory] = {}

    def of(self, cluster: str) -> "Directory":
        """The map as it holds in a cluster."""
        if not self._clusters:
            return self
        name = cluster if cluster in self._clusters else ""  # the others are alike
        found = self._within.get(name)
        if found is None:
            inside = [each for each in self.identities if each.is_in(name)]  # first: of a person's entries this one has the uid
            outside = [_away(each) for each in self.identities if not each.is_in(name)]
            found = self._within[name] = Directory([*inside, *outside], self._tickets, self.key)
            found._clusters = frozenset()
        return found

    @property
    def uids(self) -> frozenset[int]:
        """That anybody has, or had."""
        return frozenset(self._by_uid)

    def label(self, *parts: str) -> str:
        """What stands for a name where it is withheld, and tells it from others: always the same at one site."""
        return keyed(self.key, *parts)

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
        return self.by_name(LOGIN, login, at)

    def by_name(self, kind: str, name: str, at: int) -> Identity | None:
        """The identity behind a name of a kind at event time `at`; None for no name."""
        if not name:
            return None
        if (found := self.known(kind, name, at)) is not None:
            return found
        if kind != LOGIN:
            return Identity(id=f"{kind}:{name}")
        return ROOT if name == "root" else _unknown_login(name)

    def known(self, kind: str, name: str, at: int) -> Identity | None:
        """The same; None where the map does not know the name."""
        for each in _forms(kind, name):
            for identity in self._by_name.get(each, ()):
                if identity.valid_from <= at < identity.valid_to:
                    return identity
        return None

    def held(self, kind: str, name: str, at: int) -> Identity | None:
        """Whoever has a name at event time `at`, or had it last before; None where nobody did, by the map."""
        if (found := self.known(kind, name, at)) is not None:
            return found
        left = [identity for identity in self._by_name.get((kind, name), ()) if identity.valid_to <= at]
        return max(left, key=lambda identity: (identity.valid_to, identity.id), default=None)

    def told_as(self, identity_id: str, at: int | None = None) -> Iterator[str]:
        """Ids under which logins of an identity at event time `at`, or ever, may have been told: its own, and those of a map before a
        correction, which did not know the login yet, or knew it under an id that nobody has now; of a uid that nobody had, whoever had it
        before."""
        yield identity_id
        number = identity_id.removeprefix(UID) if identity_id.startswith(UID) else ""
        holders = self._by_uid.get(int(number), ()) if number.isdecimal() else ()
        yield from dict.fromkeys(identity.id for identity in holders if at is None or identity.valid_from <= at)
        for identity in self._by_id.get(identity_id, ()):
            if identity.login and (at is None or identity.valid_from <= at < identity.valid_to):
                yield _unknown_login(identity.login).id
                if identity.login not in self._by_id:
                    yield identity.login

    def owned(self, identity_id: str, kind: str) -> Iterator[tuple[str, int, int]]:
        """Names of a kind that the identity has, or had: each with the time from which and until which, UTC ms."""
        for identity in self._by_id.get(identity_id, ()):
            yield from ((name, identity.valid_from, identity.valid_to) for of, name in identity.names if of == kind)

    def holders(self, login: str) -> Iterator[str]:
        """Ids of whoever has, or ever had, this login, else the login itself; and the one that it has while the map does not know it."""
        yield from dict.fromkeys(identity.id for identity in self._by_name.get((LOGIN, login), ())) or (login,)
        yield _unknown_login(login).id

    def former(self, uid: int | None, login: str, at: int) -> Identity | None:
        """Who had the uid, or else the login, last before `at`: of an account that nobody has by then, its last owner."""
        for known in (self._by_uid.get(uid, ()) if uid is not None else (), self._by_name.get((LOGIN, login), ())):
            left = [identity for identity in known if identity.valid_to <= at]
            if left:
                return max(left, key=lambda identity: (identity.valid_to, identity.id))
        return None

    def ticket_for(self, identity: Identity, at: int, *, cluster: str, host: str = "", job: str = "") -> Ticket | None:
        """The first ticket that covers the act, or None.  A ticket without identities covers admins and root only.

        `cluster` is where host and job are: two clusters have jobs of one number, and often hosts of one name.
        """
        for ticket in self._tickets:
            if not ticket.start <= at < ticket.end:
                continue
            if identity.id not in ticket.identities and (ticket.identities or identity.role not in ("admin", "root")):
                continue
            if (
                ticket.cluster not in ("", cluster)
                or (ticket.hosts and host not in ticket.hosts)
                or (ticket.jobs and job not in ticket.jobs)
            ):
                continue
            return ticket
        return None


def names_of(identity: Identity) -> Iterator[tuple[str, str]]:
    """(kind, name) of all names of an identity, as they are looked up."""
    if identity.login:
        yield LOGIN, identity.login
    for kind, name in identity.names:
        yield kind, name.lower() if kind == EMAIL else name


def _forms(kind: str, name: str) -> Iterator[tuple[str, str]]:
    """Under what a name may stand in the map, the most particular first."""
    if kind == EMAIL:
        yield kind, name.lower()
        return
    yield kind, name
    if kind == CLOUD and _ASSUMED_ROLE in name:
        yield kind, name.rpartition("/")[0]
    if kind == LOGIN and ":" in name:  # no login name has one: a scheduler of Kubernetes states its users as owners
        yield KUBERNETES, name
    if kind != KEY and "@" in name and not (kind == CLOUD and ":" in name):
        yield EMAIL, name.rpartition(":")[2].lower()
