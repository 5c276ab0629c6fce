"""A case and what is said of it in; the same with a note of since when there is history, out.

Of a job that began before the logs of its cluster were read, nobody has told what happened until then.  The explanations that needed a
source at that time say so themselves, since it was not heard; the note says why, and for how much of the job it holds:

    job starts 08:00        bootstrap 11:00        job ends 12:00       ->  history_begins: not checked, "history begins at 11:00"

Holds: the earliest bootstrap counts; an attempt that began at or after it has no note.
"""

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from pipeline.detect.case import Case
from pipeline.model.events import Event, HistoryBegins
from pipeline.model.finding import Checked, Explanation, Finding, Verdict

NAME = "history_begins"
Said = TypeVar("Said", Finding, Verdict)


def begins(case: Case) -> tuple[Event, int] | None:
    """The record that says since when there is history, and when that is, UTC ms; None for an attempt that began later."""
    told = min(((body.at, event.id, event) for event, body in case.of(HistoryBegins)), default=None, key=lambda each: each[:2])
    began = case.attempt.start if case.attempt.start >= 0 else case.attempt.submit
    return (told[2], told[0]) if told is not None and began < told[0] else None


def noted(case: Case, said: Said) -> Said:
    """What is said of the case, with the note at the end of its checklist."""
    since = begins(case)
    if since is None:
        return said
    event, at = since
    text = f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    note = Explanation(NAME, Checked.NOT_CHECKED, event.record, f"history begins at {text}: nothing before it was read")
    return msgspec.structs.replace(said, checklist=(*said.checklist, note))
