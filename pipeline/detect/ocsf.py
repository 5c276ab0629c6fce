"""A finding in, an OCSF 1.5.0 Detection Finding (class 2004) out; verdicts and enriched events in, their topic values out.

OCSF is what other products read; our own words travel in `unmapped.trainwatch`, byte for byte: `canonical`, which is the same on every
replay, and `transport`, which tells how it came about.  Everything outside `unmapped` is a view of those two, so a consumer can take
either.  A finding is created once (activity 1), updated by every later revision (2) and closed when it is taken back (3).

Verdicts and enriched events have no OCSF class (a batch job is none of its subjects), so their values are the two blocks alone.

Holds: pure; keys are sorted, so equal values are equal bytes; a person whose naming is withheld stands nowhere.
"""

from typing import Any

import msgspec
import orjson

from pipeline import __version__
from pipeline.model.finding import Enriched, Evidence, Finding, Severity, Status, Transport, Verdict, canonical

OCSF_VERSION = "1.5.0"
CLASS_UID = 2004
CREATE, UPDATE, CLOSE = 1, 2, 3
ACTIVITY_NAMES = {CREATE: "Create", UPDATE: "Update", CLOSE: "Close"}
NEW, RESOLVED = 1, 4
STATUS_NAMES = {NEW: "New", RESOLVED: "Resolved"}
SEVERITIES = {Severity.LOW: (2, "Low"), Severity.MEDIUM: (3, "Medium"), Severity.HIGH: (4, "High"), Severity.CRITICAL: (5, "Critical")}
RULE = 1  # analytic.type_id
RESOURCE_UID, USER_UID = 10, 31  # observable.type_id
RESOURCE_TYPES = {"job": "training job", "host": "host", "artefact": "artefact", "identity": "identity", "cohort": "cohort of jobs"}
CONFIDENCE_BANDS = ((0.8, 3, "High"), (0.5, 2, "Medium"), (0.0, 1, "Low"))  # ours: OCSF gives the names, not the borders
FIRST_REVISION = 1


def detection_finding(finding: Finding, transport: Transport, time_ms: int) -> bytes:
    """The value of `findings`: `time_ms` is the event time at which the finding was judged."""
    retracted = finding.status is Status.RETRACTED
    activity = activity_of(transport, retracted=retracted)
    status_id = RESOLVED if retracted else NEW
    severity_id, severity = SEVERITIES[finding.severity]
    confidence_id, confidence = next((number, name) for low, number, name in CONFIDENCE_BANDS if finding.confidence.score >= low)
    value: dict[str, Any] = {
        **classified(CLASS_UID, "Detection Finding", activity),
        "time": time_ms,
        "start_time": min(finding.cause_time, finding.effect_time),
        "end_time": max(finding.cause_time, finding.effect_time),
        "severity_id": severity_id,
        "severity": severity,
        "confidence_id": confidence_id,
        "confidence": confidence,
        "confidence_score": round(finding.confidence.score * 100),
        "status_id": status_id,
        "status": STATUS_NAMES[status_id],
        "status_detail": finding.status.value,
        "is_alert": finding.alert and not retracted,
        "message": finding.summary,
        "metadata": metadata(finding.id, finding.detector, transport),
        "finding_info": _finding_info(finding),
        "evidences": [_evidence(evidence) for evidence in finding.evidence],
        "resources": [_resource(finding)],
        "observables": _observables(finding),
        "unmapped": {"trainwatch": _blocks(finding, transport)},
    }
    return _dump(value)


def verdict_value(verdict: Verdict, transport: Transport) -> bytes:
    """The value of `verdicts`."""
    return _dump(_blocks(verdict, transport))


def enriched_value(enriched: Enriched, transport: Transport) -> bytes:
    """The value of `enriched`."""
    return _dump(_blocks(enriched, transport))


def activity_of(transport: Transport, *, retracted: bool) -> int:
    """OCSF's activity: create, update or close."""
    if retracted:
        return CLOSE
    return CREATE if transport.revision <= FIRST_REVISION else UPDATE


def classified(class_uid: int, name: str, activity: int) -> dict[str, Any]:
    """The fields by which OCSF says what an event is: one of its finding classes, and what happened to it."""
    return {
        "activity_id": activity,
        "activity_name": ACTIVITY_NAMES[activity],
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": class_uid,
        "class_name": name,
        "type_uid": class_uid * 100 + activity,
        "type_name": f"{name}: {ACTIVITY_NAMES[activity]}",
    }


def metadata(name: str, event_code: str, transport: Transport) -> dict[str, Any]:
    """OCSF's `metadata` of one revision of what is called `name`."""
    return {
        "version": OCSF_VERSION,
        "uid": f"{name}-{transport.revision}",
        "event_code": event_code,
        "product": {"name": "trainwatch", "vendor_name": "trainwatch", "version": transport.software or __version__},
    }


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _blocks(value: Finding | Verdict | Enriched, transport: Transport) -> dict[str, Any]:
    return {"canonical": orjson.Fragment(canonical(value)), "transport": msgspec.to_builtins(transport)}


def _finding_info(finding: Finding) -> dict[str, Any]:
    return {
        "uid": finding.id,
        "title": finding.title,
        "desc": finding.summary,
        "types": [finding.effect],
        "first_seen_time": min(finding.cause_time, finding.effect_time),
        "last_seen_time": max(finding.cause_time, finding.effect_time),
        "data_sources": [source.value for source in finding.sources],
        "analytic": {
            "name": finding.detector,
            "uid": finding.detector,
            "type_id": RULE,
            "type": "Rule",
            "version": str(finding.detector_version),
        },
        "attacks": [_attack(technique) for technique in finding.attack],
    }


def _attack(technique: str) -> dict[str, Any]:
    parent, dot, _ = technique.partition(".")
    attack = {"technique": {"uid": parent}}
    return attack | {"sub_technique": {"uid": technique}} if dot else attack


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {"name": evidence.role, "uid": evidence.event_id, "data": msgspec.to_builtins(msgspec.structs.replace(evidence, host=""))}


def _resource(finding: Finding) -> dict[str, Any]:
    subject = finding.subject
    resource: dict[str, Any] = {
        "uid": finding.about,
        "name": subject.name,
        "namespace": subject.cluster,
        "type": RESOURCE_TYPES[subject.kind],
    }
    return resource | {"owner": {"uid": finding.owner}} if finding.owner else resource


def _observables(finding: Finding) -> list[dict[str, Any]]:
    observables = [{"name": "resources[0].uid", "type": "Resource UID", "type_id": RESOURCE_UID, "value": finding.about}]
    if finding.actor:
        observables.append({"name": "unmapped.trainwatch.canonical.actor", "type": "User UID", "type_id": USER_UID, "value": finding.actor})
    return observables
