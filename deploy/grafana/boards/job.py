"""Job: everything that is known of one job."""

from deploy.grafana.boards.timeline import STATES, one_axis
from deploy.grafana.panels import (
    BLUE,
    CLUSTER,
    ENDED,
    GREEN,
    IN_CLUSTER,
    LABEL_COLORS,
    LABELS,
    ORANGE,
    RED,
    YELLOW,
    Annotation,
    Board,
    Column,
    Panel,
    Variable,
    to,
)  # fmt: skip

JOB = "${job:singlequote}"
OF_JOB = f"{IN_CLUSTER} AND job_id = {JOB}"
LINES = f"FROM events WHERE $__timeFilter_ms(ts) AND {OF_JOB}"
STEPS = f"{LINES} AND source = 'training' AND kind = 'iteration'"

CHOICE = Variable(
    name="job", label="Job", description="Raw job id; jobs with findings first. Any other id can be typed.",
    sql=f"""
SELECT job_id FROM verdicts_current WHERE {ENDED} AND {IN_CLUSTER}
GROUP BY job_id ORDER BY max(verdict = 'interference') DESC, max(end_time) DESC LIMIT 1000
""",
)  # fmt: skip
VERDICT = Panel(
    kind="table", title="How did it end, and why?", width=24, height=4, no_value="No verdict: it runs, or nothing is known of it",
    description="One line per attempt, with the record that proves the verdict.",
    columns={
        "verdict": Column(colors={"benign": GREEN, "unexplained": YELLOW, "interference": RED}), "GPU-hours": Column(unit="h", decimals=1),
        "owner": Column(link=to("entity", kind="identity", entity="${__value.raw}")),
    },
    sql=f"""
SELECT verdict, cause, status, state, owner, gpus, gpus * dateDiff('second', start_time, end_time) / 3600 AS "GPU-hours",
    submit_time AS submit,
    start_time AS start, end_time AS end, arrayStringConcat(nodes, ' ') AS hosts, by_source,
    if(verdict = 'interference', concat('finding ', arrayStringConcat(arrayMap(id -> left(id, 12), findings), ', ')), by_summary) AS proof
FROM verdicts_current WHERE {OF_JOB} AND status != 'retracted' ORDER BY end_time
""",
)  # fmt: skip
FINDINGS = Panel(
    kind="table", title="Which findings is it under?", width=24, height=4, no_value="None", expects_rows=False,
    description="Findings about this job, those taken back left out. Whoever acted is named where an incident names them.",
    columns={
        "finding": Column(link=to("incident", finding="${__value.raw}")), "confidence": Column(unit="percentunit", decimals=0),
        "label": Column(colors=LABEL_COLORS),
    },
    sql=f"""
SELECT effect_time AS time, detector, severity, actor, actor_withheld AS why_no_actor, confidence, status, alert, summary,
    label, finding_id AS finding
FROM (SELECT * FROM findings_told WHERE {OF_JOB} AND status != 'retracted') AS f {LABELS} ORDER BY effect_time
""",
)  # fmt: skip
AXIS = Panel(
    kind="state-timeline", title="What happened to it, on one axis?", width=24, height=8, states=STATES, unit="string",
    description="Phases of the job, what the controller was asked and did, who touched it, and the records cited by findings.",
    no_value="Nothing is known in this period", sql=one_axis(JOB, f"SELECT finding_id FROM findings WHERE {OF_JOB}"),
)  # fmt: skip
LOSS = Panel(
    kind="timeseries", title="Does it learn?", width=12, unit="short", expects_rows=False,
    description="Training loss as logged, averaged over the step of the period.", no_value="No losses were logged in this period",
    columns={"loss": Column(color=BLUE)},
    sql=f"SELECT $__timeInterval(ts) AS time, avgOrNull(toFloat64OrNull(attrs['loss'])) AS loss {STEPS} GROUP BY time ORDER BY time",
)  # fmt: skip
GRADIENTS = Panel(
    kind="timeseries", title="Are its gradients sane?", width=12, expects_rows=False,
    description="Gradient norm, and iterations that were skipped or gave no number.", no_value="No gradients were logged in this period",
    columns={"grad_norm": Column(color=BLUE), "skipped": Column(color=ORANGE), "nan": Column(color=RED)},
    sql=f"""
SELECT $__timeInterval(ts) AS time, max(toFloat64OrZero(attrs['grad_norm'])) AS grad_norm,
    sum(toFloat64OrZero(attrs['skipped'])) AS skipped,
    sum(toFloat64OrZero(attrs['nan'])) AS nan
{STEPS} GROUP BY time ORDER BY time
""",
)  # fmt: skip
SPEED = Panel(
    kind="timeseries", title="How fast is an iteration?", width=12, unit="ms", expects_rows=False,
    description="Median and slowest time of an iteration.", no_value="No iterations were logged in this period",
    columns={"median": Column(color=BLUE), "slowest": Column(color=ORANGE)},
    sql=f"""
SELECT $__timeInterval(ts) AS time, quantile(0.5)(toFloat64OrZero(attrs['elapsed_ms'])) AS median,
    max(toFloat64OrZero(attrs['elapsed_ms'])) AS slowest
{STEPS} GROUP BY time ORDER BY time
""",
)  # fmt: skip
LOGGED = Panel(
    kind="timeseries", title="Who writes about it?", width=12, bars=True, stacked=True,
    description="Lines that name the job, per source. Silence while it runs is a sign of its own.", no_value="No line in this period",
    sql=f"SELECT $__timeInterval(ts) AS time, source, count() AS lines {LINES} GROUP BY time, source ORDER BY time, source",
)  # fmt: skip
RANKS = Panel(
    kind="table", title="Which ranks failed, and which first?", width=24, height=5, expects_rows=False,
    no_value="No rank failed in this period",
    description="What launchers and srun say about ranks, oldest first. The first failure is the one to explain. Of torchrun's block, "
    "whose lines come one by one, rank and heading are those above in the same file.",
    columns={"host": Column(link=to("entity", kind="host", entity="${__value.raw}"))},
    sql=f"""
SELECT time, kind, host, rank, local_rank, code, signal, first, line
FROM
(
    SELECT ts AS time, kind, host, raw AS line, file_offset AS place, attrs['local_rank'] AS local_rank, attrs['exit_code'] AS code,
        attrs['signal'] AS signal, kind = 'rank_failed' AND match(attrs['text'], '^-?[0-9]+ *[(]pid:') AS in_block,
        if(in_block, ifNull(anyLast(nullIf(if(kind = 'training_line', attrs['rank'], ''), '')) OVER above, ''), attrs['rank']) AS rank,
        if(in_block AND ifNull(anyLast(if(kind = 'training_line' AND match(attrs['text'], '^(Root Cause|Failures:)'), attrs['text'], NULL))
            OVER above, '') LIKE 'Root Cause%', 'first', if(attrs['first'] = 'true', 'first', '')) AS first
    {LINES} AND kind IN ('rank_failed', 'task_ended', 'step_oom', 'step_cancelled', 'collective_timeout', 'training_line')
        AND (kind != 'training_line' OR attrs['what'] = 'failure_block')
    WINDOW above AS (PARTITION BY host, file ORDER BY file_offset ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE kind != 'training_line' ORDER BY time, place LIMIT 200
""",
)  # fmt: skip
SCHEDULER = Panel(
    kind="table", title="What did the scheduler say?", width=24, height=6, no_value="The scheduler said nothing in this period",
    description="Controller and accounting, oldest first.",
    sql=f"""
SELECT ts AS time, source, kind, attrs['change'] AS change, attrs['state'] AS state, attrs['uid'] AS uid, raw AS line
{LINES} AND source IN ('slurmctld', 'slurm_jobcomp', 'sacct', 'slurmd') ORDER BY ts LIMIT 200
""",
)  # fmt: skip
TOUCHES = Panel(
    kind="table", title="Who touched it?", width=24, height=6, no_value="Nobody in this period", expects_rows=False,
    description="Acts on the job, its processes, hosts and files by people, with their relation to the owner.",
    columns={
        "relation": Column(colors={"owner": GREEN, "team": ORANGE, "foreign": RED, "unknown": YELLOW}),
        "actor": Column(link=to("entity", kind="identity", entity="${__value.raw}")),
    },
    sql=f"""
SELECT ts AS time, actor, relation, matched AS by, kind, source, host, attrs['comm'] AS command, attrs['signal'] AS signal,
    attrs['path'] AS path
FROM enriched_current WHERE $__timeFilter_ms(ts) AND {OF_JOB}
    AND kind IN ('signal_sent', 'process_run', 'file_touched', 'kill_request', 'job_update', 'privilege_used', 'login')
ORDER BY relation IN ('foreign', 'unknown', 'team') DESC, ts LIMIT 200
""",
)  # fmt: skip
CHECKPOINTS = Panel(
    kind="table", title="Which checkpoints did it save and load?", width=24, height=6, expects_rows=False,
    no_value="None were noted in this period",
    description="As the probe hashed them: a file that is loaded with other bytes than were saved was changed.",
    columns={"path": Column(link=to("entity", kind="artefact", entity="${__value.raw}"))},
    sql=f"""
SELECT ts AS time, kind, attrs['path'] AS path, attrs['sha256'] AS sha256, host
{LINES} AND source = 'probe' AND kind IN ('checkpoint_saved', 'checkpoint_loaded') ORDER BY ts LIMIT 200
""",
)  # fmt: skip
TIMELINE = Panel(
    kind="table", title="What is known of it, in order?", width=24, height=12, no_value="Nothing in this period",
    description="Its own lines, what others did, verdicts and findings; the first thousand.",
    columns={"time": Column(width=190), "text": Column(width=700)},
    sql=f"SELECT ts AS time, what, source, kind, host, actor, relation, text FROM job_timeline WHERE $__timeFilter_ms(ts) AND {OF_JOB} "
    "ORDER BY ts, what LIMIT 1000",
)  # fmt: skip

BOARD = Board(
    name="job", title="Job", folder="investigation",
    description="Everything about one job: verdict, findings, training, ranks, scheduler, touches.",
    variables=(CLUSTER, CHOICE),
    annotations=(
        Annotation(
            name="Findings", color="red",
            sql=f"SELECT effect_time AS time, title, summary AS text, [toString(detector)] AS tags FROM findings_current "
            f"WHERE {OF_JOB} AND $__timeFilter_ms(effect_time) AND status != 'retracted'",
        ),
    ),
    rows=(
        (VERDICT,), (FINDINGS,), (AXIS,), (LOSS, GRADIENTS), (SPEED, LOGGED), (RANKS,), (TOUCHES,), (SCHEDULER,), (CHECKPOINTS,),
        (TIMELINE,),
    ),
)  # fmt: skip
