"""Who acted in an event, and what they are to the owner of a job.

The login uid comes before the effective one, since it survives su and sudo; root without a login is a daemon of the system.  A name is of
the kind that its source uses (model/identity.py).  An accepted key is its holder's, whatever account it opened, also after the holder has
left; one that was refused proves nothing, because anybody may offer a public key.  Whose file or job something is does not say who acted,
with one exception: a job's accounting record is its owner's; who cancelled it stands in fields of its own.
"""

from functools import cache, lru_cache

import msgspec

from pipeline.model.events import AuditRecord, Body, Event, FileIntegrity, JobRecord, Login, SessionChanged, SessionCommand
from pipeline.model.identity import BASTION, CLOUD, GIT, KEY, KUBERNETES, LOGIN, Directory, Identity
from pipeline.model.source import Source

DAEMON = Identity(id="daemon", uid=0, role="daemon")
_KINDS: dict[Source, str] = {
    Source.KUBERNETES_AUDIT: KUBERNETES,
    Source.CLOUDTRAIL: CLOUD,
    Source.S3_ACCESS: CLOUD,
    Source.MINIO: CLOUD,
    Source.TELEPORT: BASTION,
    Source.GIT_PUSH: GIT,
}


def actor_of(directory: Directory, event: Event) -> Identity | None:
    """The identity behind an event, as valid at event time in its cluster; None when the event names nobody."""
    directory, body, at = directory.of(event.cluster), event.body, event.event_time
    if isinstance(body, AuditRecord):
        fields = body.fields
        audited = "auid" in fields
        if not audited and "uid" not in fields:
            return None
        auid, uid = _number(fields.get("auid")), _number(fields.get("uid"))
    else:
        audited, names_somebody = _fields_of(type(body))
        if not names_somebody:
            return None
        auid, uid = getattr(body, "auid", None), getattr(body, "uid", None)
        if uid is None:
            uid = getattr(body, "owner_uid", None)
    login = directory.by_uid(auid, at)
    if login is not None and login.role != "root":
        return login
    if uid == 0 and login is None and audited:
        return DAEMON
    if (found := login or directory.by_uid(uid, at)) is not None:
        return found
    return None if isinstance(body, AuditRecord) else _named(directory, event)


def _named(directory: Directory, event: Event) -> Identity | None:
    body, at = event.body, event.event_time
    if isinstance(body, Login) and body.outcome == "accepted" and (holder := directory.held(KEY, key_of(body.fingerprint), at)):
        return holder
    kind = _KINDS.get(event.source, LOGIN)
    name = getattr(body, "user", "")
    if isinstance(body, SessionChanged) and kind == BASTION:
        name = body.by  # `user` is the account on the host
    elif isinstance(body, SessionCommand) and not name:
        kind, name = LOGIN, body.login
    elif not name and not isinstance(body, FileIntegrity):  # whose file it is says nothing of who changed it
        name = getattr(body, "owner", "")
    return directory.by_name(kind, name, at)


def with_uids(directory: Directory, record: JobRecord, at: int) -> JobRecord:
    """The record with uids for the names that its cluster's map knows, where its source states names alone (`sacct --json`)."""
    found: dict[str, int | None] = {}
    for name, field in ((record.owner, "owner_uid"), (record.cancelled_by, "cancelled_by_uid")):
        if name and getattr(record, field) is None and (who := directory.known(LOGIN, name, at)) is not None:
            found[field] = who.uid
    return msgspec.structs.replace(record, **found) if found else record


def key_of(fingerprint: str) -> str:
    """`SHA256:...` of what sshd writes: its type before it, and a certificate's names after, which may be anybody's."""
    return next((word for word in fingerprint.split(" ", 2)[:2] if word.startswith(("SHA256:", "MD5:"))), "")


@cache
def _fields_of(body: type[Body]) -> tuple[bool, bool]:
    """Has a kind of body a login uid, and anybody at all?"""
    fields = body.__struct_fields__
    return "auid" in fields, not {"auid", "uid", "owner_uid", "user", "owner"}.isdisjoint(fields)


@lru_cache(maxsize=4096)
def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 10 else None


def relation(actor: Identity | None, owner: Identity | None) -> str:
    """owner | service | admin | root | daemon | team | foreign | unknown."""
    if actor is None or owner is None:
        return "unknown"
    if actor.id == owner.id or (actor.uid is not None and actor.uid == owner.uid and _at_one_time(actor, owner)):
        return "owner"
    if actor.role in ("service", "admin", "root", "daemon"):
        return actor.role
    return "team" if actor.team and actor.team == owner.team else "foreign"


def _at_one_time(one: Identity, other: Identity) -> bool:
    """A uid that is given away anew, or in another cluster, is another person's."""
    return one.is_beside(other) and one.valid_from < other.valid_to and other.valid_from < one.valid_to
