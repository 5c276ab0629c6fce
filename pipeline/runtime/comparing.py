"""Canonical bodies of findings of two runs in; which were raised, dropped or changed, and which cannot be compared, out.

    before \\ after      there            not there
    there               same | changed   dropped
    not there           raised           -

Only findings whose effect lies in the range count; what was read before it is there to know the state.  Two things make a finding
incomparable, and it is left out with the reason: its subject began before anything was read, or, beside what a running cluster has stored,
its window is still open.

Holds: pure; nothing is left out without being listed.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipeline.detect.detector import registry
from pipeline.model.instants import DAY_MS
from pipeline.settings import Settings

Body = dict[str, Any]
Bodies = Mapping[str, Body]
MOVED = "closes_at"  # moves with every window, and says nothing of what was found


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared."""

    since: int  # of the effect, UTC ms
    until: int | None
    begins: int | None = None  # what was before is not known; None: there was nothing
    heard: int = 0  # time of the last record
    stored: bool = False  # `before` is what a cluster has stored
    windows: Mapping[str, int]  # detector -> ms
    rules: Collection[str] = ()  # empty: all


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One finding that differs."""

    change: str  # raised | dropped | changed
    id: str
    detector: str
    subject: str
    effect_time: int
    before: Body | None
    after: Body | None
    fields: tuple[str, ...] = ()  # that differ
    answers: tuple[tuple[str, str, str], ...] = ()  # benign explanation, answer before, answer after; "" where there is no finding


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """One finding that cannot be compared."""

    id: str
    detector: str
    subject: str
    why: str


class Count(msgspec.Struct, kw_only=True):
    """Of one detector."""

    detector: str
    before: int = 0
    after: int = 0
    alerts_before: int = 0
    alerts_after: int = 0
    raised: int = 0
    dropped: int = 0
    changed: int = 0


class Comparison(msgspec.Struct, frozen=True):
    """The whole answer."""

    counts: list[Count]  # by detector
    changes: list[Change]  # by time
    left_out: list[LeftOut]


def compare(before: Bodies, after: Bodies, frame: Frame) -> Comparison:
    """Findings of two runs; neither holds retracted ones."""
    counts: dict[str, Count] = {}
    changes: list[Change] = []
    left_out: list[LeftOut] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        body: Body = new or old or {}
        detector = str(body["detector"])
        if (frame.rules and detector not in frame.rules) or not any(_in_range(each, frame) for each in (old, new)):
            continue
        if why := _incomparable(old, new, frame):
            left_out.append(LeftOut(id=key, detector=detector, subject=subject(body), why=why))
            continue
        change = _change(key, old, new, frame)
        changes += [change] if change else []
        _count(counts.setdefault(detector, Count(detector=detector)), old, new, change)
    changes.sort(key=lambda each: (each.effect_time, each.id))
    return Comparison([counts[name] for name in sorted(counts)], changes, left_out)


def windows_of(settings: Settings) -> dict[str, int]:
    """Detector -> its window in ms; one that names none looks as far back as cases are kept."""
    kept = settings.retention.identity_days * DAY_MS
    return {
        each.meta.id: window_seconds(settings, each.meta.window_seconds) * 1000 if each.meta.window_seconds else kept for each in registry()
    }


def window_seconds(settings: Settings, name: str) -> int:
    """The value of the setting that a detector names."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return int(value)


def subject(body: Body) -> str:
    """What a finding is about, in one line: `job main/48213`, `host main/gpu-012`."""
    if body["attempt"] is not None:
        return f"job {body['attempt'][0]}/{body['attempt'][1]}"
    kind, cluster, name = body["subject"]
    return f"{kind} {cluster}/{name}"


def _in_range(body: Body | None, frame: Frame) -> bool:
    if body is None:
        return False
    return frame.since <= body["effect_time"] and (frame.until is None or body["effect_time"] < frame.until)


def _incomparable(old: Body | None, new: Body | None, frame: Frame) -> str:
    bodies = [body for body in (old, new) if body is not None]
    if frame.begins is not None and any(_began(body, frame) < frame.begins for body in bodies):
        return f"history begins at {_moment(frame.begins)}"
    if not frame.stored:
        return ""
    closes = max(body["closes_at"] for body in bodies)
    if frame.until is not None and closes > frame.until:
        return "its window reaches beyond the end of the range"
    if (old is not None and old["status"] != "final") or (old is None and closes > frame.heard):
        return "its window is still open"
    return ""


def _began(body: Body, frame: Frame) -> int:
    """Of the history that it rests on: a job's submission, another subject's window before the effect, and what is cited."""
    effect = int(body["effect_time"])
    attempt = body["attempt"]
    subject_began = max(attempt[2], 0) if attempt is not None else effect - frame.windows.get(str(body["detector"]), 0)
    return min(subject_began, effect, int(body["cause_time"]), *(int(item["event_time"]) for item in body["evidence"]))


def _change(key: str, old: Body | None, new: Body | None, frame: Frame) -> Change | None:
    body: Body = new or old or {}
    fields: tuple[str, ...] = ()
    if old is not None and new is not None:
        moved = () if frame.stored else (MOVED,)
        fields = tuple(name for name in sorted(old.keys() | new.keys()) if name not in moved and old.get(name) != new.get(name))
        if not fields:
            return None
    return Change(
        change="raised" if old is None else "dropped" if new is None else "changed",
        id=key,
        detector=str(body["detector"]),
        subject=subject(body),
        effect_time=int(body["effect_time"]),
        before=old,
        after=new,
        fields=fields,
        answers=tuple(_answers(old, new)),
    )


def _answers(old: Body | None, new: Body | None) -> Iterator[tuple[str, str, str]]:
    """Benign explanations that were answered otherwise."""
    if old is None or new is None:
        return
    then, now = ({item["name"]: item["answer"] for item in body["checklist"]} for body in (old, new))
    for name in dict.fromkeys((*then, *now)):
        if then.get(name) != now.get(name):
            yield name, then.get(name, ""), now.get(name, "")


def _count(count: Count, old: Body | None, new: Body | None, change: Change | None) -> None:
    count.before += old is not None
    count.after += new is not None
    count.alerts_before += old is not None and bool(old["alert"])
    count.alerts_after += new is not None and bool(new["alert"])
    if change is not None:
        setattr(count, change.change, getattr(count, change.change) + 1)


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
