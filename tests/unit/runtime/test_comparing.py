"""What two runs say of the same history: raised, dropped, changed, or not to be compared."""

from typing import Any

import pytest

from pipeline.detect.detector import registry
from pipeline.runtime.comparing import Frame, compare, windows_of
from pipeline.settings import Settings

T0 = 1_772_449_500_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WINDOWS = windows_of(Settings())


def body(**changes: Any) -> dict[str, Any]:
    """A canonical body of a finding about a job that began an hour before."""
    return {
        "id": "f1",
        "detector": "p03_foreign_cancel",
        "attempt": ["main", "48213", T0 - HOUR_MS, T0 - HOUR_MS + 1000],
        "subject": ["job", "main", "48213"],
        "effect_time": T0,
        "cause_time": T0 - 60_000,
        "closes_at": T0 + 120_000,
        "status": "final",
        "alert": True,
        "gate": "",
        "actor": "u017",
        "confidence": {"score": 0.9, "parts": []},
        "evidence": [{"event_id": "e1", "event_time": T0 - 60_000}],
        "checklist": [{"name": "preempted", "answer": "excluded"}, {"name": "admin_ticket", "answer": "excluded"}],
        **changes,
    }


def frame(**changes: Any) -> Frame:
    return Frame(**{"since": T0 - DAY_MS, "until": None, "heard": T0 + DAY_MS, "windows": WINDOWS, **changes})


BELOW = body(alert=False, gate="not checked: preempted", checklist=[{"name": "preempted", "answer": "not_checked"}])
CHANGES = [
    ("raised", None, body(), ("raised", ())),
    ("dropped", body(), None, ("dropped", ())),
    ("the same", body(), body(), None),
    ("below the gate", body(), BELOW, ("changed", ("alert", "checklist", "gate"))),
    ("a window that closes later is no change", body(), body(closes_at=T0 + DAY_MS), None),
]


@pytest.mark.parametrize(("name", "before", "after", "expected"), CHANGES, ids=[row[0] for row in CHANGES])
def test_what_differs(name: str, before: Any, after: Any, expected: Any) -> None:
    """One finding there, or not there, before and after; counts agree with the list."""
    found = compare({"f1": before} if before else {}, {"f1": after} if after else {}, frame())
    assert [(each.change, each.fields) for each in found.changes] == ([expected] if expected else [])
    (count,) = found.counts
    assert (count.before, count.after) == (int(before is not None), int(after is not None))
    assert (count.alerts_before, count.alerts_after) == tuple(int(bool(each and each["alert"])) for each in (before, after))
    assert count.raised + count.dropped + count.changed == len(found.changes)
    assert found.left_out == []


def test_answers_that_differ_are_named() -> None:
    """With both answers; one that is asked no more has none."""
    (change,) = compare({"f1": body()}, {"f1": BELOW}, frame()).changes
    assert change.answers == (("preempted", "excluded", "not_checked"), ("admin_ticket", "excluded", ""))


def test_beside_what_is_stored_every_byte_counts() -> None:
    """Also when the window closes: with the same settings nothing may differ."""
    later = body(closes_at=T0 + 121_000)
    (change,) = compare({"f1": body()}, {"f1": later}, frame(stored=True)).changes
    assert change.fields == ("closes_at",)


ARTEFACT = body(attempt=None, subject=["artefact", "main", "/ckpt/x"], detector="p11_dataset_tamper")
LEFT_OUT = [
    ("submitted before history begins", body(), {"begins": T0 - HOUR_MS + 1}, "history begins at"),
    ("submitted when it begins", body(), {"begins": T0 - HOUR_MS}, ""),
    (
        "its evidence is older",
        body(evidence=[{"event_id": "e", "event_time": T0 - DAY_MS}]),
        {"begins": T0 - 2 * HOUR_MS},
        "history begins at",
    ),
    ("no job: a window before its effect", ARTEFACT, {"begins": T0 - DAY_MS}, "history begins at"),
    ("no job, and all is known", ARTEFACT, {"begins": None}, ""),
    ("still provisional", body(status="provisional"), {"stored": True}, "its window is still open"),
    ("closes behind the range", body(), {"stored": True, "until": T0 + 1000}, "its window reaches beyond the end of the range"),
    ("closes behind it, but both runs end there", body(), {"until": T0 + 1000}, ""),
]


@pytest.mark.parametrize(("name", "old", "changes", "why"), LEFT_OUT, ids=[row[0] for row in LEFT_OUT])
def test_what_cannot_be_compared(name: str, old: dict[str, Any], changes: dict[str, Any], why: str) -> None:
    """It is listed with the reason, and counted nowhere else."""
    found = compare({"f1": old}, {}, frame(**changes))
    assert [each.why[: len(why)] for each in found.left_out] == ([why] if why else [])
    assert len(found.changes) == len(found.counts) == (0 if why else 1)


def test_a_finding_that_nobody_has_stored_yet_is_no_difference() -> None:
    """Its window closes behind the last record: a worker has not judged it."""
    found = compare({}, {"f1": body()}, frame(stored=True, heard=T0 + 60_000))
    assert [each.why for each in found.left_out] == ["its window is still open"]
    assert compare({}, {"f1": body()}, frame(stored=True, heard=T0 + 120_000)).changes


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"since": T0}, 1),
        ({"since": T0 + 1}, 0),
        ({"until": T0}, 0),
        ({"until": T0 + 1}, 1),
        ({"rules": {"p03_foreign_cancel"}}, 1),
        ({"rules": {"p01_foreign_kill"}}, 0),
    ],
)
def test_range_and_rules(changes: dict[str, Any], counted: int) -> None:
    """The effect decides; the end is exclusive; other detectors are left out."""
    assert len(compare({"f1": body()}, {}, frame(**changes)).changes) == counted


def test_every_detector_has_a_window() -> None:
    """Also those that look back as far as cases are kept."""
    assert WINDOWS.keys() == {each.meta.id for each in registry()}
    assert all(window > 0 for window in WINDOWS.values())
