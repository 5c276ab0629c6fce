"""One axis for a job: its phases, what the scheduler was asked and did, and who touched it.

The SQL is shared by the dashboards of a job and of an incident.  A state lasts until the next one of its lane; acts, which are instants,
are drawn for one interval of the period, or until the next act of the lane, and end with an empty state.
"""

from deploy.grafana.panels import BLUE, GREEN, GREY, IN_CLUSTER, ORANGE, PURPLE, RED, YELLOW

STATES = {
    "pending": YELLOW, "running": GREEN, "COMPLETED": BLUE, "FAILED": ORANGE, "CANCELLED": RED, "NODE_FAIL": ORANGE,
    "TIMEOUT": ORANGE, "PREEMPTED": ORANGE, "OUT_OF_MEMORY": ORANGE, "cancel requested": RED, "cancel refused": PURPLE,
    "by owner": GREEN, "by team": ORANGE, "by foreign": RED, "by admin": BLUE, "by root": BLUE, "by daemon": GREY, "by service": GREY,
    "by unknown": YELLOW,
    "cause": RED, "effect": PURPLE,
    "saved": GREEN, "written": RED, "loaded": ORANGE, "before": GREY, "owner": GREY,
    "submitted": YELLOW, "allocated": GREEN, "started": GREEN, "completed": BLUE, "requeued": ORANGE, "preempted": ORANGE,
    "time_limit": ORANGE, "node_failed": ORANGE, "oom": ORANGE, "cancelled": RED,
}  # fmt: skip


def one_axis(jobs: str, evidence_of: str) -> str:
    """SQL with a column per lane.  `jobs` selects job ids, `evidence_of` finding ids; both are what stands after IN."""
    return f"""
WITH acts AS
(
    SELECT 'scheduler' AS lane, ts AS at,
        multiIf(kind = 'kill_request', if(attrs['refused'] = 'true', 'cancel refused', 'cancel requested'),
        kind = 'job_update', concat('changed ', attrs['change']), attrs['change']) AS act
    FROM events
    WHERE $__timeFilter_ms(ts) AND job_id IN ({jobs}) AND source = 'slurmctld' AND kind IN ('kill_request', 'job_update', 'controller_job')
    UNION ALL
    SELECT 'access' AS lane, ts AS at, concat('by ', relation) AS act
    FROM enriched_current
    WHERE $__timeFilter_ms(ts) AND job_id IN ({jobs}) AND source NOT IN ('slurmctld', 'sacct', 'slurm_jobcomp', 'training', 'probe')
    UNION ALL
    SELECT 'evidence' AS lane, event_time AS at, toString(role) AS act
    FROM finding_evidence_current
    WHERE finding_id IN ({evidence_of})
)
SELECT at AS time, anyIf(what, lane = 'job') AS job, anyIf(what, lane = 'scheduler') AS scheduler,
    anyIf(what, lane = 'access') AS access, anyIf(what, lane = 'evidence') AS evidence
FROM
(
    SELECT 'job' AS lane, step.1 AS at, CAST(step.2, 'Nullable(String)') AS what
    FROM verdicts_current AS v
    ARRAY JOIN [(v.submit_time, 'pending'), (coalesce(v.start_time, v.submit_time), if(v.start_time IS NULL, 'pending', 'running')),
        (v.end_time, toString(v.state))] AS step
    WHERE job_id IN ({jobs}) AND {IN_CLUSTER} AND status != 'retracted'
    UNION ALL
    SELECT lane, step.1 AS at, step.2 AS what
    FROM
    (
        SELECT lane, arrayJoin(if(next > until, [(begun, act), (until, '')], [(begun, act)])) AS step
        FROM
        (
            SELECT lane, at AS begun, act, at + toIntervalSecond($__interval_s) AS until,
                leadInFrame(at, 1, toDateTime64('2200-01-01', 3, 'UTC'))
                    OVER (PARTITION BY lane ORDER BY at ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS next
            FROM acts
        )
    )
)
GROUP BY time ORDER BY time LIMIT 5000
"""
