"""A value of the topics findings or incidents in; what a webhook is sent of it, and its signature, out.

A name is sent of an incident that gives one, and of nothing else: a finding's `actor` is the account that its records name, and whether
its holder acted is weighed by the incident.

Pure: no clock, no network.  What a notice says came from logs, so text for chats loses control characters and all that a chat would take
for markup or for calling somebody.

The signature is v1=HMAC-SHA256(key, timestamp + "." + body), hex, over the bytes that are sent; the receiver recomputes it, compares in
constant time, and refuses timestamps that are more than a few minutes old.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson

from pipeline.errors import DecodeError, SchemaMismatch

LEVELS = ("low", "medium", "high", "critical")
FINDINGS, INCIDENTS = "findings", "incidents"
KINDS = {FINDINGS: "finding", INCIDENTS: "incident"}
TEXT_MAX = 1500
RETRACTED = "retracted"
PAYLOAD_VERSION = 1
UNTOLD = "told by its incident, if it names anybody"
OCSF_ACTOR = "unmapped.trainwatch.canonical.actor"  # the observable
# Fullwidth twins: they read the same, and no chat takes them for markup.
INERT = {ord(char): ord(char) + 0xFEE0 for char in "<>&@*`[]"}


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One word on a finding or incident."""

    kind: str  # finding | incident
    id: str
    revision: int
    status: str
    severity: str
    alert: bool
    title: str
    summary: str
    about: str
    owner: str
    actor: str  # whom an incident names, or empty
    withheld: str
    cause_time: int  # UTC ms
    effect_time: int
    detector: str
    merged_into: str = ""

    @property
    def says(self) -> str:
        """What makes it worth telling again; a revision that changes nothing of this is not."""
        return "|".join((self.status, self.severity, str(self.alert), self.actor, self.merged_into))


def read(content: str, value: bytes) -> Notice:
    """Raises DecodeError or SchemaMismatch: the value is not ours."""
    try:
        blocks = orjson.loads(value)["unmapped"]["trainwatch"]
        body, revision = blocks["canonical"], int(blocks["transport"]["revision"])
        return (_finding if content == FINDINGS else _incident)(body, revision)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"{content}: not JSON: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SchemaMismatch(f"{content}: not a value of this topic: {error!r}") from error


def _finding(body: Mapping[str, Any], revision: int) -> Notice:
    kind, cluster, name = body["subject"]
    return Notice(
        kind="finding",
        id=str(body["id"]),
        revision=revision,
        status=str(body["status"]),
        severity=_level(body["severity"]),
        alert=bool(body["alert"]),
        title=str(body["title"]),
        summary=str(body["summary"]),
        about=f"{kind} {name} ({cluster})",
        owner=str(body["owner"]),
        actor="",
        withheld=UNTOLD,
        cause_time=int(body["cause_time"]),
        effect_time=int(body["effect_time"]),
        detector=str(body["detector"]),
    )


def _incident(body: Mapping[str, Any], revision: int) -> Notice:
    said = body["attribution"]
    return Notice(
        kind="incident",
        id=str(body["id"]),
        revision=revision,
        status=str(body["status"]),
        severity=_level(body["severity"]),
        alert=bool(body["alert"]),
        title=str(body["title"]),
        summary=", ".join(sorted({str(member["detector"]) for member in body["members"]})) or "its findings were taken back",
        about=f"cluster {body['cluster']}",
        owner="",
        actor=str(said["named"]),
        withheld=str(said["withheld"]),
        cause_time=int(body["first"]),
        effect_time=int(body["last"]),
        detector="",
        merged_into=str(body["merged_into"]),
    )


def _level(value: Any) -> str:
    if value not in LEVELS:
        raise ValueError(f"no severity: {value!r}")
    return str(value)


# --- what is sent -----------------------------------------------------------------------------------------------------------------


class Circumstances(msgspec.Struct, frozen=True):
    """What the notifier knows beside the word itself."""

    escalated_minutes: int = 0  # nobody acknowledged it for so long; 0: told at once
    acknowledged_by: str = ""
    held_back: int = 0  # findings of the same detector that wait, since the target has heard of as many as it may in an hour


def payload(form: str, notice: Notice, value: bytes, known: Circumstances) -> bytes:
    """The body of the request; of one word and the same circumstances the same bytes."""
    if form == "ocsf":
        return unnamed(value) if notice.kind == KINDS[FINDINGS] else value
    return orjson.dumps(FORMS[form](notice, known), option=orjson.OPT_SORT_KEYS)


def unnamed(value: bytes) -> bytes:
    """The value of a finding without whom its records name; byte for byte the same where they name nobody."""
    body = orjson.loads(value)
    canonical = body.get("unmapped", {}).get("trainwatch", {}).get("canonical", {})
    if not canonical.get("actor"):
        return value
    canonical |= {"actor": "", "actor_withheld": UNTOLD}
    body["observables"] = [each for each in body.get("observables", ()) if each["name"] != OCSF_ACTOR]
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def _json(notice: Notice, known: Circumstances) -> dict[str, Any]:
    return {
        "version": PAYLOAD_VERSION,
        **msgspec.to_builtins(notice),
        "escalated_minutes": known.escalated_minutes,
        "acknowledged_by": known.acknowledged_by,
        "held_back": known.held_back,
    }


def text(notice: Notice, known: Circumstances) -> str:
    """A few lines for a chat."""
    who = notice.actor or f"name withheld: {notice.withheld or 'nobody is known'}"
    lines = [
        f"{notice.severity.upper()} {notice.kind} {notice.status}: {notice.title}",
        notice.summary,
        f"about {notice.about}" + (f" of {notice.owner}" if notice.owner else ""),
        f"actor: {who}",
        f"trainwatch {notice.kind} show {notice.id[:12]}",
    ]
    if known.escalated_minutes:
        lines.insert(0, f"nobody has acknowledged this for {known.escalated_minutes} minutes")
    if known.acknowledged_by:
        lines.append(f"acknowledged by {known.acknowledged_by}")
    if known.held_back:
        lines.append(f"{known.held_back:,} more of {notice.detector} wait: trainwatch finding list --alert")
    return "\n".join(inert(line) for line in lines)[:TEXT_MAX]


def inert(line: str) -> str:
    """Without control characters, and without what a chat would act upon."""
    return "".join(" " if unicodedata.category(char)[0] == "C" else char for char in line).translate(INERT)


FORMS: Mapping[str, Callable[[Notice, Circumstances], dict[str, Any]]] = {
    "json": _json,
    "slack": lambda notice, known: {"text": text(notice, known)},
    "feishu": lambda notice, known: {"msg_type": "text", "content": {"text": text(notice, known)}},
    "dingtalk": lambda notice, known: {"msgtype": "text", "text": {"content": text(notice, known)}},
}


def signature(key: bytes, timestamp: int, body: bytes) -> str:
    """The header X-Trainwatch-Signature; `timestamp` in seconds stands in X-Trainwatch-Timestamp."""
    return "v1=" + hmac.new(key, str(timestamp).encode() + b"." + body, hashlib.sha256).hexdigest()
