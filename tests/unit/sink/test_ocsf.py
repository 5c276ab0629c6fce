"""Findings as OCSF 1.5.0 Detection Findings; their full class is checked in test_schemas.py."""

from typing import Any

import orjson
import pytest

from pipeline.detect import ocsf
from pipeline.model.finding import Confidence, Finding, Severity, Status, canonical
from tests.unit.sink.build import ATTEMPT, T0, enriched, finding, transport, value_of, verdict


def value(body: Finding, revision: int = 1) -> dict[str, Any]:
    """The value as a consumer reads it."""
    loaded: dict[str, Any] = orjson.loads(value_of(body, revision))
    return loaded


ACTIVITIES = [
    ("first word", finding(), 1, 1, "New"),
    ("first word, window closed already", finding(status=Status.FINAL), 1, 1, "New"),
    ("a revision", finding(status=Status.FINAL), 2, 2, "New"),
    ("a later provisional word", finding(), 5, 2, "New"),
    ("taken back", finding(status=Status.RETRACTED), 3, 3, "Resolved"),
    ("taken back at once", finding(status=Status.RETRACTED), 1, 3, "Resolved"),
]


@pytest.mark.parametrize(("name", "body", "revision", "activity", "status"), ACTIVITIES, ids=[row[0] for row in ACTIVITIES])
def test_activity_follows_status_and_revision(name: str, body: Finding, revision: int, activity: int, status: str) -> None:
    """Create, update, close; type_uid is the class and the activity."""
    found = value(body, revision)
    assert (found["activity_id"], found["type_uid"], found["status"]) == (activity, 200400 + activity, status)
    assert found["metadata"]["uid"] == f"{body.id}-{revision}"


@pytest.mark.parametrize("body", [finding(), verdict(), enriched()], ids=["finding", "verdict", "enriched"])
def test_the_canonical_body_travels_byte_for_byte(body: Any) -> None:
    """A consumer can compare it without knowing our serialiser."""
    assert canonical(body) in value_of(body)


def test_a_withheld_name_stands_nowhere() -> None:
    """Neither as observable nor anywhere else in the value."""
    named, withheld = finding(summary="a cancel"), finding(summary="a cancel", actor="", actor_withheld="one source")
    assert b"u042" in value_of(named)
    assert b"u042" not in value_of(withheld)
    assert [observable["type"] for observable in value(withheld)["observables"]] == ["Resource UID"]


def test_a_retraction_alerts_nobody() -> None:
    """is_alert is about what stands, not about what was said once."""
    assert value(finding())["is_alert"] is True
    assert value(finding(status=Status.RETRACTED), 2)["is_alert"] is False
    assert value(finding(alert=False, gate="low"))["is_alert"] is False


@pytest.mark.parametrize(
    ("score", "band"), [(0.0, "Low"), (0.499, "Low"), (0.5, "Medium"), (0.799, "Medium"), (0.8, "High"), (1.0, "High")]
)
def test_confidence_bands(score: float, band: str) -> None:
    """Borders belong to the upper band."""
    assert value(finding(confidence=Confidence(score, ())))["confidence"] == band


def test_severities_are_those_of_ocsf() -> None:
    """2 low to 5 critical."""
    assert [value(finding(severity=severity))["severity_id"] for severity in Severity] == [2, 3, 4, 5]


def test_a_sub_technique_names_its_technique() -> None:
    """T1565.001 is below T1565."""
    attacks = value(finding(attack=("T1489", "T1565.001")))["finding_info"]["attacks"]
    assert attacks == [{"technique": {"uid": "T1489"}}, {"technique": {"uid": "T1565"}, "sub_technique": {"uid": "T1565.001"}}]


def test_the_harmed_job_is_the_resource() -> None:
    """With owner, as far as known."""
    assert value(finding())["resources"] == [
        {"uid": ATTEMPT.name, "name": "48213", "namespace": "main", "type": "training job", "owner": {"uid": "u017"}}
    ]
    assert "owner" not in value(finding(owner=""))["resources"][0]


def test_equal_values_are_equal_bytes() -> None:
    """Keys are sorted at every depth; the order in which watermarks became known does not show."""
    one, other = transport(watermarks={"auditd": T0, "sshd": T0}), transport(watermarks={"sshd": T0, "auditd": T0})
    assert ocsf.detection_finding(finding(), one, T0) == ocsf.detection_finding(finding(), other, T0)
    assert ocsf.verdict_value(verdict(), one) == ocsf.verdict_value(verdict(), other)
