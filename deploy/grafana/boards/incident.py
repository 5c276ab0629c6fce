"""Incident: what happened, who may have done it, how sure is that, and which lines prove it.  Asked by finding."""

from deploy.grafana.boards.timeline import STATES, one_axis
from deploy.grafana.panels import (
    CLUSTER,
    GREEN,
    GREY,
    IN_CLUSTER,
    ORANGE,
    RED,
    YELLOW,
    Board,
    Column,
    Panel,
    Variable,
    to,
)  # fmt: skip

FINDING = "${finding:singlequote}"
OF_FINDING = f"finding_id = {FINDING}"
JOBS = f"SELECT job_id FROM findings WHERE {OF_FINDING} AND job_id != ''"
INCIDENTS = f"SELECT incident_id FROM incident_findings_current WHERE {OF_FINDING}"

CHOICE = Variable(
    name="finding", label="Finding", description="The finding that is looked at; newest first.",
    sql=f"""
SELECT finding_id, concat(formatDateTime(effect_time, '%F %R'), ' ', detector, ' ', subject_name, ' ', actor) AS label
FROM findings_current WHERE $__timeFilter(effect_time) AND {IN_CLUSTER} AND status != 'retracted'
ORDER BY alert DESC, effect_time DESC LIMIT 500
""",
)  # fmt: skip
STORY = Panel(
    kind="table", title="What happened?", width=14, height=9, no_value="No such finding",
    description="What is said of it. Confidence is in the act, not in a person: a name stands there only on two independent sources.",
    columns={"what": Column(width=160)},
    sql=f"""
SELECT line.1 AS what, line.2 AS is
FROM findings_current
ARRAY JOIN [('summary', summary), ('detector', concat(detector, ': ', title)), ('severity', toString(severity)), ('status',
    toString(status)),
    ('about', concat(subject, ' ', subject_name)), ('owner', owner), ('actor', if(actor = '', concat('withheld: ', actor_withheld), actor)),
    ('confidence', toString(round(confidence, 2))), ('alert', if(alert, 'yes', concat('no: ', gate))),
    ('cause', toString(cause_time)), ('effect', toString(effect_time)), ('ATT&CK', arrayStringConcat(attack, ', ')),
    ('sources never heard', arrayStringConcat(silent, ', '))] AS line
WHERE {OF_FINDING} AND {IN_CLUSTER} AND line.2 != ''
""",
)  # fmt: skip
LOSS = Panel(
    kind="table", title="What did it hit?", width=10, height=9, no_value="It is about no job",
    description="The attempts of the job that the finding is about, with GPUs times run time: an upper bound of what was lost.",
    columns={"gpu_hours": Column(unit="h", decimals=1), "job": Column(link=to("job", job="${__value.raw}"))},
    expects_rows=False,
    sql=f"""
SELECT job_id AS job, owner, state, verdict, gpus, gpus * dateDiff('second', start_time, end_time) / 3600 AS gpu_hours, start_time AS start,
    end_time AS end, arrayStringConcat(nodes, ' ') AS hosts
FROM verdicts_current WHERE job_id IN ({JOBS}) AND {IN_CLUSTER} ORDER BY end_time
""",
)  # fmt: skip
AXIS = Panel(
    kind="state-timeline", title="How do the job, the scheduler and access fit together in time?", width=24, height=8, states=STATES,
    description="Phases of the job, what the controller was asked and did, who touched it, and the records that are cited. "
    "Narrow the period to see single seconds.",
    no_value="Nothing is known in this period", unit="string", sql=one_axis(JOBS, FINDING),
)  # fmt: skip
EVIDENCE = Panel(
    kind="table", title="Which records prove it?", width=24, height=9, no_value="No such finding",
    description="In the finding's own order, with the line as received, its hash and its place in Kafka. Check them with "
    "`trainwatch evidence`.",
    columns={"role": Column(width=90, colors={"cause": RED, "effect": ORANGE, "owner": GREY}), "sha256": Column(width=160)},
    sql=f"""
SELECT e.position AS number, e.role AS role, e.event_time AS time, e.source AS source, e.summary AS summary, any(r.raw) AS line,
    any(r.host) AS host, any(r._topic) AS topic, any(r._partition) AS partition, any(r._offset) AS offset, e.sha256 AS sha256,
    e.event_id AS event
FROM (SELECT * FROM finding_evidence_current WHERE {OF_FINDING}) AS e
LEFT JOIN
(
    SELECT event_id, raw, host, _topic, _partition, _offset FROM events
    WHERE ts >= (SELECT min(event_time) FROM finding_evidence WHERE {OF_FINDING})
        AND ts <= (SELECT max(event_time) FROM finding_evidence WHERE {OF_FINDING})
        AND event_id IN (SELECT event_id FROM finding_evidence WHERE {OF_FINDING})
) AS r ON r.event_id = e.event_id
GROUP BY number, role, time, source, summary, sha256, event ORDER BY number
""",
)  # fmt: skip
CHECKLIST = Panel(
    kind="table", title="Which innocent explanations were looked at?", width=12, no_value="No such finding",
    description="Confirmed by a record (then there would be no finding), excluded, or not checked because a source was silent.",
    columns={"answer": Column(colors={"excluded": GREEN, "not_checked": YELLOW, "confirmed": RED})},
    sql=f"""
SELECT item.1 AS explanation, item.2 AS answer, item.4 AS why, arrayStringConcat(item.5, ', ') AS missing, item.3 AS by_event
FROM findings_current ARRAY JOIN checklist AS item WHERE {OF_FINDING} AND {IN_CLUSTER}
""",
)  # fmt: skip
CONFIDENCE = Panel(
    kind="barchart", title="What is the confidence made of?", width=12, horizontal=True, unit="percentunit", maximum=1,
    description="The parts whose product is the confidence.", no_value="No such finding",
    sql=f"""
SELECT part, value FROM findings_current ARRAY JOIN mapKeys(confidence_parts) AS part, mapValues(confidence_parts) AS value
WHERE {OF_FINDING} AND {IN_CLUSTER} ORDER BY part
""",
)  # fmt: skip
INCIDENT = Panel(
    kind="table", title="Which incident is it a part of?", width=24, height=5, expects_rows=False,
    description="Findings of one cause. The gap is the decimal logarithm of the ratio between the leading hypothesis and the next.",
    no_value="It is a part of no incident", columns={"incident": Column(width=290)},
    sql=f"""
SELECT incident_id AS incident, title, severity, status, findings, attempts, exposed, gpus_max AS gpus, named, withheld, leader, second,
    gap_low AS gap, gap_needed
FROM incidents_current WHERE incident_id IN ({INCIDENTS}) AND {IN_CLUSTER} ORDER BY status, first_time
""",
)  # fmt: skip
CANDIDATES = Panel(
    kind="table", title="Who may have done it?", width=10, expects_rows=False, no_value="No hypotheses: it is a part of no incident",
    description="Hypotheses with the decimal logarithm of their likelihood ratio, low and high. Nobody, and somebody else, are among them.",
    columns={"low": Column(decimals=2), "high": Column(decimals=2)},
    sql=f"""
SELECT position + 1 AS place, kind, who, low, high, arrayStringConcat(evidence, ', ') AS weighed
FROM attribution_current WHERE incident_id IN ({INCIDENTS}) ORDER BY incident_id, position
""",
)  # fmt: skip
RELATED = Panel(
    kind="table", title="What else belongs to the incident?", width=14, expects_rows=False, no_value="Nothing else",
    description="The other findings of the same incident, and what ties them.",
    columns={"finding": Column(link=to("incident", finding="${__value.raw}"))},
    sql=f"""
SELECT effect_time AS time, detector, alert, arrayStringConcat(links, ', ') AS tied_by, finding_id AS finding
FROM incident_findings_current WHERE incident_id IN ({INCIDENTS}) AND finding_id != {FINDING} ORDER BY time
""",
)  # fmt: skip

BOARD = Board(
    name="incident", title="Incident", folder="investigation",
    description="One finding and the incident that holds it: story, time axis, evidence, explanations, candidates.",
    variables=(CLUSTER, CHOICE),
    rows=((STORY, LOSS), (AXIS,), (EVIDENCE,), (CHECKLIST, CONFIDENCE), (INCIDENT,), (CANDIDATES, RELATED)),
)  # fmt: skip
