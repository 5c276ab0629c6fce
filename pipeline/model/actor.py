"""Who acted in an event, and what they are to the owner of a job."""

from functools import cache, lru_cache

from pipeline.model.events import AuditRecord, Body, Event
from pipeline.model.identity import Directory, Identity

DAEMON = Identity(id="daemon", uid=0, role="daemon")


def actor_of(directory: Directory, event: Event) -> Identity | None:
    """The identity behind an event, as valid at event time; None when the event names nobody.

    The login uid comes before the effective one, since it survives su and sudo; root without a login is a daemon of the system.
    """
    body, at = event.body, event.event_time
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
    return directory.by_login(getattr(body, "user", "") or getattr(body, "owner", ""), at)


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
    if actor.id == owner.id or (actor.uid is not None and actor.uid == owner.uid):
        return "owner"
    if actor.role in ("service", "admin", "root", "daemon"):
        return actor.role
    return "team" if actor.team and actor.team == owner.team else "foreign"
