"""Entity: one person, host, file or single record: what it did, what was done to it, what is said of it, and its raw lines."""

from deploy.grafana.panels import (
    CLUSTER,
    ENDED,
    GREEN,
    IN_CLUSTER,
    LABEL_COLORS,
    LABELS,
    NOT_DISMISSED,
    ORANGE,
    RED,
    SEVERITIES,
    YELLOW,
    Board,
    Column,
    Panel,
    Variable,
    named_series,
    to,
)  # fmt: skip

KIND, NAME = "${kind:singlequote}", "${entity:singlequote}"
OF_EVENT = f"""(({KIND} = 'identity' AND actor = {NAME}) OR ({KIND} = 'host' AND host = {NAME})
        OR ({KIND} = 'artefact' AND (attrs['path'] = {NAME} OR (attrs['record_type'] = 'PATH' AND attrs['name'] = {NAME})))
        OR ({KIND} = 'event' AND event_id = {NAME}))"""
CITING = f"SELECT finding_id FROM finding_evidence WHERE {KIND} = 'event' AND event_id = {NAME}"
EVENTS = f"FROM events WHERE $__timeFilter_ms(ts) AND {IN_CLUSTER} AND {OF_EVENT}"
# The view reads whole rows of the period before it can tell the newest of each: the few in question are found in the table first.
TOUCHED = f"""FROM enriched_current
WHERE $__timeFilter_ms(ts) AND {IN_CLUSTER} AND {OF_EVENT}
    AND enriched_id IN (SELECT enriched_id FROM enriched_events WHERE $__timeFilter_ms(ts) AND {IN_CLUSTER} AND {OF_EVENT})"""

KINDS = Variable(name="kind", label="Kind", description="What is looked at.", values=("identity", "host", "artefact", "event"))
CHOICE = Variable(
    name="entity", label="Name", description="Those that findings name first. Any other can be typed.",
    sql=f"""
SELECT name FROM
(
    SELECT subject_name AS name, 1 AS named FROM findings_current WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND subject = {KIND}
    UNION ALL
    SELECT actor, 2 FROM findings_told
    WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND {KIND} = 'identity' AND alert AND status != 'retracted'
    UNION ALL
    SELECT owner, 0 FROM verdicts WHERE $__timeFilter_ms(end_time) AND {IN_CLUSTER} AND {KIND} = 'identity'
    UNION ALL
    SELECT arrayJoin(nodes), 0 FROM verdicts WHERE $__timeFilter_ms(end_time) AND {IN_CLUSTER} AND {KIND} = 'host'
    UNION ALL
    SELECT anchor, 1 FROM findings_current
    WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND {KIND} = 'artefact' AND anchor LIKE '%/%'
    UNION ALL
    SELECT attrs['path'], 0 FROM events
    WHERE $__timeFilter_ms(ts) AND {IN_CLUSTER} AND {KIND} = 'artefact' AND source = 'probe' AND kind = 'checkpoint_saved'
    UNION ALL
    SELECT event_id, 1 FROM finding_evidence WHERE {KIND} = 'event' AND $__timeFilter_ms(event_time)
)
WHERE name != '' GROUP BY name ORDER BY max(named) DESC, name LIMIT 1000
""",
)  # fmt: skip
AS_ACTOR = Panel(
    kind="stat", title="How many findings name it?", width=6, height=4, thresholds=((None, GREEN), (1, RED)), no_value="None",
    description="As the actor, where an incident names it, or as what the finding is about; left out are those taken back, and those that "
    "people labelled false or benign.",
    sql=f"""
SELECT count() AS findings FROM findings_told
WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND status != 'retracted' AND {NOT_DISMISSED}
    AND (({KIND} = 'identity' AND actor = {NAME}) OR (subject = {KIND} AND subject_name = {NAME}) OR anchor = {NAME})
""",
)  # fmt: skip
AS_VICTIM = Panel(
    kind="stat", title="How many findings hit its jobs?", width=6, height=4, thresholds=((None, GREEN), (1, ORANGE)), no_value="None",
    description="Findings about jobs that it owns or hosts.",
    sql=f"""
SELECT count() AS findings FROM findings_current
WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND status != 'retracted' AND job_id != ''
    AND (({KIND} = 'identity' AND owner = {NAME})
        OR ({KIND} = 'host' AND job_id IN (SELECT job_id FROM verdicts WHERE $__timeFilter_ms(end_time) AND has(nodes, {NAME}))))
""",
)  # fmt: skip
FOREIGN = Panel(
    kind="stat", title="How many jobs of others did it touch?", width=6, height=4, thresholds=((None, GREEN), (1, YELLOW)), no_value="None",
    description="Distinct jobs of anybody else, of the own team too. Most touches are harmless.",
    sql=f"SELECT uniqExact(job_id) AS jobs {TOUCHED} AND relation IN ('foreign', 'team')",
)  # fmt: skip
HEARD = Panel(
    kind="stat", title="How many records tell of it?", width=6, height=4, no_value="None",
    description="Records in the period that carry its name.", sql=f"SELECT count() AS records {EVENTS}",
)  # fmt: skip
FINDINGS = Panel(
    kind="table", title="What is said of it?", width=24, no_value="No finding names it in this period", expects_rows=False,
    description="Findings in which it acts, suffers, or is the subject, or which cite it.",
    columns={
        "id": Column(link=to("incident", finding="${__data.fields.finding}")), "finding": Column(hidden=True),
        "severity": Column(colors=SEVERITIES),
        "job": Column(link=to("job", job="${__value.raw}")), "confidence": Column(unit="percentunit", decimals=0),
        "label": Column(colors=LABEL_COLORS),
    },
    sql=f"""
SELECT effect_time AS time, multiIf(actor = {NAME}, 'acts', owner = {NAME}, 'suffers', finding_id IN ({CITING}), 'cites it',
        {NAME} IN (subject_name, anchor), 'subject', 'host of the job') AS part, severity, detector, job_id AS job, owner,
    actor, actor_withheld AS why_no_actor, confidence, status, alert, summary, label, left(finding_id, 12) AS id, finding_id AS finding
FROM (SELECT * FROM findings_told
WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND status != 'retracted'
    AND (({KIND} = 'identity' AND (actor = {NAME} OR owner = {NAME})) OR (subject = {KIND} AND subject_name = {NAME}) OR anchor = {NAME}
        OR finding_id IN ({CITING})
        OR ({KIND} = 'host' AND job_id IN (SELECT job_id FROM verdicts WHERE $__timeFilter_ms(end_time) AND has(nodes, {NAME})))))
    AS f {LABELS}
ORDER BY effect_time DESC LIMIT 200
""",
)  # fmt: skip
ACTIVITY = Panel(
    kind="timeseries", title="When is it active, and how?", width=14, bars=True, stacked=True, no_value="Nothing in this period",
    description="Records per kind. Activity at unusual hours is a reason to ask, not more.",
    sql=f"SELECT $__timeInterval(ts) AS time, kind, count() AS records {EVENTS} GROUP BY time, kind ORDER BY time, kind",
)  # fmt: skip
ENDS = Panel(
    kind="barchart", title="How do its jobs end?", width=10, horizontal=True, stacked=True, expects_rows=False,
    columns=named_series({"benign": GREEN, "unexplained": YELLOW, "interference": RED}),
    description="Ended attempts of the person, or on the host, by cause.", no_value="No job ended in this period",
    sql=f"""
SELECT cause, countIf(verdict = 'benign') AS benign, countIf(verdict = 'unexplained') AS unexplained,
    countIf(verdict = 'interference') AS interference
FROM verdicts_current
WHERE {ENDED} AND {IN_CLUSTER} AND status != 'retracted'
    AND (({KIND} = 'identity' AND owner = {NAME}) OR ({KIND} = 'host' AND has(nodes, {NAME})))
GROUP BY cause ORDER BY count() DESC, cause LIMIT 20
""",
)  # fmt: skip
TOUCHES = Panel(
    kind="table", title="Which jobs did it touch, and how?", width=24, no_value="None in this period", expects_rows=False,
    description="Per job, person and kind of act; those of others first.",
    columns={
        "job": Column(link=to("job", job="${__value.raw}")), "actor": Column(link=to("entity", kind="identity", entity="${__value.raw}")),
    },
    sql=f"""
SELECT job_id AS job, owner, actor, relation, kind, matched AS by, count() AS times, min(ts) AS first, max(ts) AS last
{TOUCHED} GROUP BY job, owner, actor, relation, kind, by ORDER BY relation IN ('foreign', 'team') DESC, last DESC LIMIT 200
""",
)  # fmt: skip
LINES = Panel(
    kind="table", title="Which records tell of it?", width=24, no_value="None in this period",
    description="The newest two hundred lines as they were received, with their place in Kafka.",
    columns={"job": Column(link=to("job", job="${__value.raw}")), "line": Column(width=500), "sha256": Column(width=140)},
    sql=f"""
SELECT ts AS time, source, kind, host, actor, job_id AS job, raw AS line, _topic AS topic, _partition AS partition, _offset AS offset,
    sha256
{EVENTS} ORDER BY ts DESC LIMIT 200
""",
)  # fmt: skip

BOARD = Board(
    name="entity", title="Entity", folder="investigation", description="One person, host, file or record: findings, acts, jobs, records.",
    variables=(CLUSTER, KINDS, CHOICE),
    rows=((AS_ACTOR, AS_VICTIM, FOREIGN, HEARD), (FINDINGS,), (ACTIVITY, ENDS), (LINES,), (TOUCHES,)),
)  # fmt: skip
