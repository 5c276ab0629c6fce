"""An incident in, an OCSF 1.5.0 Incident Finding (class 2005) out; our own words travel in `unmapped.trainwatch`, as those of a finding do.

Created once (activity 1), updated by every later revision (2), closed when its findings are taken back or belong to another incident (3).

Holds: pure; keys are sorted, so equal values are equal bytes; whoever is not named stands nowhere.
"""

from typing import Any

import msgspec
import orjson

from pipeline.detect.ocsf import SEVERITIES, activity_of, classified, metadata
from pipeline.model.finding import Status, Transport
from pipeline.model.incident import Incident, Member, canonical_incident

CLASS_UID = 2005
NEW, CLOSED = 1, 5
ASSIGNEES = "investigators"  # OCSF wants somebody; to whom it is assigned stands in the journal


def incident_finding(incident: Incident, transport: Transport) -> bytes:
    """The value of `incidents`."""
    retracted = incident.status is Status.RETRACTED
    severity_id, severity = SEVERITIES[incident.severity]
    status_id, status = (CLOSED, "Closed") if retracted else (NEW, "New")
    value: dict[str, Any] = {
        **classified(CLASS_UID, "Incident Finding", activity_of(transport, retracted=retracted)),
        "time": incident.last,
        "start_time": incident.first,
        "end_time": incident.last,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_detail": incident.status.value,
        "is_alert": incident.alert and not retracted,
        "message": incident.title,
        "desc": incident.title,
        "assignee_group": {"name": ASSIGNEES},
        "metadata": metadata(incident.id, "incident", transport),
        "finding_info_list": [_finding(member) for member in incident.members] or [{"uid": incident.founder, "title": incident.title}],
        "unmapped": {
            "trainwatch": {
                "canonical": orjson.Fragment(canonical_incident(incident)),
                "transport": msgspec.to_builtins(transport),
            }
        },
    }
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _finding(member: Member) -> dict[str, Any]:
    return {"uid": member.finding, "title": member.detector, "last_seen_time": member.effect_time}
