"""Incident: what happened, who may have done it, how sure is that, and which lines prove it.  Asked by finding."""

from deploy.grafana.boards.timeline import STATES, one_axis
from deploy.grafana.panels import (
    CLUSTER,
    GREEN,
    GREY,
    IN_CLUSTER,
    LABEL_COLORS,
    LABELS,
    ORANGE,
    RED,
    YELLOW,
    Board,
    Column,
    Panel,
    Variable,
    to,
)  # fmt: skip
from pipeline.incidents.likelihoods import BORROWED_GAP_MIN

FINDING = "${finding:singlequote}"
OF_FINDING = f"finding_id = {FINDING}"
JOBS = f"SELECT job_id FROM findings WHERE {OF_FINDING} AND job_id != ''"
SAID = f"""(SELECT any(concat(label, if(because = '', '', concat(' because ', because)), ', by ', account))
    FROM labels_current WHERE {OF_FINDING})"""
INCIDENTS = f"SELECT incident_id FROM incident_findings_current WHERE {OF_FINDING}"
# The lines of the events that the finding cites: the weeks of their times, and there what the filter on ids lets through.
CITED = f"""ts >= (SELECT min(event_time) FROM finding_evidence WHERE {OF_FINDING})
        AND ts <= (SELECT max(event_time) FROM finding_evidence WHERE {OF_FINDING})
        AND event_id IN (SELECT event_id FROM finding_evidence WHERE {OF_FINDING})"""

CHOICE = Variable(
    name="finding", label="Finding", description="The finding that is looked at; newest first.",
    sql=f"""
SELECT finding_id, concat(formatDateTime(effect_time, '%F %R'), ' ', detector, ' ', subject_name) AS label
FROM findings_current WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND status != 'retracted'
ORDER BY alert DESC, effect_time DESC LIMIT 500
""",
)  # fmt: skip
STORY = Panel(
    kind="table", title="What happened?", width=12, height=11, no_value="No such finding",
    description="What is said of it. Confidence is in the act, not in a person: a name stands there only where its incident "
    "names that person.",
    columns={"what": Column(width=160)},
    sql=f"""
SELECT line.1 AS what, line.2 AS is
FROM findings_told
ARRAY JOIN [('summary', summary), ('detector', concat(detector, ': ', title)), ('severity', toString(severity)), ('status',
    toString(status)), ('about', concat(subject, ' ', subject_name)), ('owner', owner),
    ('actor', if(actor = '', concat('withheld: ', actor_withheld), actor)),
    ('confidence', toString(round(confidence, 2))), ('alert', if(alert, 'yes', concat('no: ', gate))),
    ('cause', toString(cause_time)), ('effect', toString(effect_time)), ('ATT&CK', arrayStringConcat(attack, ', ')),
    ('sources not heard then', arrayStringConcat(silent, ', ')), ('labelled', {SAID})] AS line
WHERE {OF_FINDING} AND {IN_CLUSTER} AND line.2 != ''
""",
)  # fmt: skip
HIT = Panel(
    kind="table", title="What did it hit?", width=12, height=11, no_value="It is about no job",
    description="The attempts of the job that the finding is about, with GPUs times run time: what they held, not what was lost.",
    columns={
        "held": Column(unit="h", decimals=1), "job": Column(link=to("job", job="${__value.raw}")), "hosts": Column(width=70),
    },
    expects_rows=False,
    sql=f"""
SELECT job_id AS job, owner, state, verdict, gpus, gpus * dateDiff('second', start_time, end_time) / 3600 AS held, start_time AS start,
    end_time AS end, arrayStringConcat(nodes, ' ') AS hosts
FROM verdicts_current WHERE job_id IN ({JOBS}) AND {IN_CLUSTER} AND status != 'retracted' ORDER BY end_time
""",
)  # fmt: skip
AXIS = Panel(
    kind="state-timeline", title="How do the job, the scheduler and access fit together in time?", width=24, height=8, states=STATES,
    description="Phases of the job, what the controller was asked and did, who touched it, and the records that are cited. "
    "Narrow the period to see single seconds.",
    no_value="Nothing is known in this period", unit="string", sql=one_axis(JOBS, FINDING),
)  # fmt: skip
CHECKED = {"same line, sealed": GREEN, "same line, not sealed": YELLOW, "not stored": ORANGE, "CHANGED": RED}
EVIDENCE = Panel(
    kind="table", title="Which records prove it, and are they as they came?", width=24, height=12, no_value="No such finding",
    description="In the finding's own order. Checked: the line is hashed again and held against the hash that was cited, and a signed seal "
    "covers its place in Kafka (topic, partition, offset). Signatures and order are checked by `trainwatch evidence verify`. "
    "The event leads to the raw record.",
    columns={
        "role": Column(colors={"cause": RED, "effect": ORANGE, "owner": GREY}), "checked": Column(colors=CHECKED),
        "summary": Column(width=150), "sha256": Column(width=140), "event_id": Column(hidden=True),
        "event": Column(link=to("entity", kind="event", entity="${__data.fields.event_id}")),
        "host": Column(link=to("entity", kind="host", entity="${__value.raw}")),
    },
    sql=f"""
SELECT e.role AS role, e.event_time AS time, e.source AS source,
    multiIf(r.hashed = e.sha256, if(s.seals > 0, 'same line, sealed', 'same line, not sealed'),
        r.line != '' AND (r.told = e.sha256 OR r.lines = 1), 'CHANGED', 'not stored') AS checked,
    e.summary AS summary, if(checked = 'not stored', '', r.line) AS line, r.host AS host,
    if(r.topic = '', '', concat(r.topic, '/', r.partition, ' ', r.offset)) AS place,
    left(e.event_id, 12) AS event, e.sha256 AS sha256, e.event_id AS event_id
FROM (SELECT * FROM finding_evidence_current WHERE {OF_FINDING}) AS e
LEFT JOIN
(
    SELECT event_id, sha256 AS told, lower(hex(SHA256(raw))) AS hashed, argMin(raw, _offset) AS line, argMin(host, _offset) AS host,
        argMin(_topic, _offset) AS topic, argMin(_partition, _offset) AS partition, min(_offset) AS offset,
        count() OVER (PARTITION BY event_id) AS lines
    FROM events WHERE {CITED}
    GROUP BY event_id, told, hashed
) AS r ON r.event_id = e.event_id
LEFT JOIN
(
    SELECT k.event_id AS event_id, k.hashed AS hashed, count() AS seals
    FROM
    (
        SELECT event_id, lower(hex(SHA256(raw))) AS hashed, _topic, _partition, _incarnation, _offset FROM events WHERE {CITED}
    ) AS k
    INNER JOIN (SELECT topic, partition, incarnation, lo, hi FROM evidence_roots) AS q
        ON q.topic = k._topic AND q.partition = k._partition AND q.incarnation = k._incarnation
    WHERE k._offset >= q.lo AND k._offset < q.hi
    GROUP BY event_id, hashed
) AS s ON s.event_id = r.event_id AND s.hashed = r.hashed
ORDER BY e.position, r.hashed = e.sha256 DESC, r.told = e.sha256 DESC, s.seals DESC, r.hashed
LIMIT 1 BY e.position
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
    kind="table", title="Which incident is it a part of?", width=24, height=4, expects_rows=False,
    description="Findings of one cause. The gap is the decimal logarithm of the ratio between the leading hypothesis and the next. So much "
    "is needed for a name: less over the same account in others' hands, and more the more candidates there are.",
    no_value="It is a part of no incident",
    sql=f"""
SELECT left(incident_id, 12) AS incident, title, severity, status, findings, attempts, exposed, gpus_max AS gpus, named, withheld, leader,
    second, gap_low AS gap, if(second = replaceOne(leader, 'did/', 'borrowed/'), {BORROWED_GAP_MIN}, gap_needed) AS needed
FROM incidents_current WHERE incident_id IN ({INCIDENTS}) AND {IN_CLUSTER} ORDER BY status, first_time
""",
)  # fmt: skip
CANDIDATES = Panel(
    kind="table", title="Who may have done it?", width=10, height=6, expects_rows=False, no_value="No hypotheses: part of no incident",
    description="Hypotheses with the decimal logarithm of their likelihood ratio, low and high. Nobody, and somebody else, are among them.",
    columns={"log10_low": Column(decimals=2), "log10_high": Column(decimals=2), "weighed": Column(width=120)},
    sql=f"""
SELECT position + 1 AS place, kind, who, low AS log10_low, high AS log10_high, arrayStringConcat(evidence, ', ') AS weighed
FROM attribution_current WHERE incident_id IN ({INCIDENTS}) ORDER BY incident_id, position
""",
)  # fmt: skip
RELATED = Panel(
    kind="table", title="What else belongs to the incident?", width=14, height=6, expects_rows=False, no_value="Nothing else",
    description="The other findings of the same incident, and what ties them.",
    columns={
        "id": Column(link=to("incident", finding="${__data.fields.finding}")), "finding": Column(hidden=True),
        "label": Column(colors=LABEL_COLORS),
    },
    sql=f"""
SELECT effect_time AS time, detector, alert, arrayStringConcat(links, ', ') AS tied_by, label,
    left(finding_id, 12) AS id, finding_id AS finding
FROM (SELECT * FROM incident_findings_current WHERE incident_id IN ({INCIDENTS}) AND finding_id != {FINDING}) AS m {LABELS} ORDER BY time
""",
)  # fmt: skip

LOSS = Panel(
    kind="table", title="What did it cost, line by line?", width=24, height=6, expects_rows=False,
    no_value="No loss: it is a part of no incident",
    description="Hours of one ledger add up, and none counts an hour that another one counts. Direct: GPU-hours; indirect: people's hours, "
    "as somebody stated them. Low: proved. Middle: claimed by findings above their gate. High: with those below.",
    columns={
        "low": Column(unit="h", decimals=1), "middle": Column(unit="h", decimals=1), "high": Column(unit="h", decimals=1),
        "money_low": Column(decimals=0), "money_middle": Column(decimals=0), "money_high": Column(decimals=0),
        "job": Column(link=to("job", job="${__value.raw}")), "formula": Column(width=260),
    },
    sql=f"""
SELECT ledger, kind, job_id AS job, gpu_hours_low AS low, gpu_hours_middle AS middle, gpu_hours_high AS high, formula, gpus, nodes,
    arrayStringConcat(arrayMap(each -> concat(each.reading, ' ', if(isNull(each.start), 'as stated', concat(
        formatDateTime(assumeNotNull(each.start), '%F %T'), 'Z to ', formatDateTime(assumeNotNull(each.end), '%F %T'), 'Z',
        if(each.share = 1, '', concat(' x ', toString(round(each.share, 4)))),
        if(each.elsewhere = 0, '', concat(' - ', toString(round(each.elsewhere, 2)), ' h counted elsewhere'))
    ))), inputs), '; ') AS times, note,
    if(currency = '', NULL, money_low) AS money_low, if(currency = '', NULL, money_middle) AS money_middle,
    if(currency = '', NULL, money_high) AS money_high, if(currency = '', method, currency) AS currency, length(evidence) AS records
FROM loss_lines_current WHERE incident_id IN ({INCIDENTS}) ORDER BY incident_id, position LIMIT 200
""",
)  # fmt: skip
CUSTODY = Panel(
    kind="table", title="Who looked at, took out, held or labelled it?", width=24, height=5, expects_rows=False, no_value="Nobody so far",
    description="The chain of custody and the journal of the finding and of its incident, oldest first; nothing is ever taken out of them.",
    sql=f"""
SELECT time, account AS who, toString(action) AS action, detail, sha256 AS bundle
FROM custody_log WHERE subject = {FINDING} OR subject IN ({INCIDENTS})
UNION ALL
SELECT at AS time, operator AS who, toString(action) AS action, concat(value, ' ', text) AS detail, '' AS bundle
FROM incident_journal WHERE incident_id IN ({INCIDENTS})
ORDER BY time LIMIT 200
""",
)  # fmt: skip

BOARD = Board(
    name="incident", title="Incident", folder="investigation",
    description="One finding and the incident that holds it: story, time axis, evidence, candidates, loss, explanations, custody.",
    variables=(CLUSTER, CHOICE),
    rows=(
        (STORY, HIT), (AXIS,), (EVIDENCE,), (INCIDENT,), (CANDIDATES, RELATED), (LOSS,), (CHECKLIST, CONFIDENCE), (CUSTODY,),
    ),
)  # fmt: skip
