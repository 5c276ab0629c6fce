"""One axis for a job: its phases, what the scheduler was asked and did, and who touched it.

The SQL is shared by the dashboards of a job and of an incident.  A state lasts until the next one of its lane; acts, which are instants,
are drawn for a sixtieth of the period's step and end with an empty state.
"""

from deploy.grafana.panels import BLUE, GREEN, GREY, IN_CLUSTER, ORANGE, PURPLE, RED, YELLOW

STATES = {
    "pending": YELLOW, "running": GREEN, "COMPLETED": BLUE, "FAILED": ORANGE, "CANCELLED": RED, "NODE_FAIL": ORANGE,
    "TIMEOUT": ORANGE, "PREEMPTED": ORANGE, "OUT_OF_MEMORY": ORANGE, "cancel requested": RED, "cancel refused": PURPLE,
    "by owner": GREEN, "by team": ORANGE, "by foreign": RED, "by admin": BLUE, "by root": BLUE, "by daemon": GREY, "by service": GREY,
    "cause": RED, "effect": PURPLE, "": "transparent",
}  # fmt: skip


def one_axis(jobs: str, evidence_of: str) -> str:
    """SQL with a column per lane.  `jobs` selects job ids, `evidence_of` finding ids; both are conditions behind IN."""
    return f"""
SELECT at AS time, anyIf(what, lane = 'job') AS job, anyIf(what, lane = 'scheduler') AS scheduler,
    anyIf(what, lane = 'access') AS access, anyIf(what, lane = 'evidence') AS evidence
FROM
(
    SELECT step.1 AS at, 'job' AS lane, CAST(step.2, 'Nullable(String)') AS what
    FROM verdicts_current AS v
    ARRAY JOIN [(v.submit_time, 'pending'), (coalesce(v.start_time, v.submit_time), if(v.start_time IS NULL, 'pending', 'running')),
        (v.end_time, toString(v.state))] AS step
    WHERE job_id IN ({jobs}) AND {IN_CLUSTER}
    UNION ALL
    SELECT step.1 AS at, 'scheduler' AS lane, step.2 AS what
    FROM
    (
        SELECT ts, multiIf(kind = 'kill_request', if(attrs['refused'] = 'true', 'cancel refused', 'cancel requested'),
            kind = 'job_update', concat('changed ', attrs['change']), attrs['change']) AS act
        FROM events
        WHERE $__timeFilter(ts) AND job_id IN ({jobs}) AND source = 'slurmctld' AND kind IN ('kill_request', 'job_update', 'controller_job')
    )
    ARRAY JOIN [(ts, act), (ts + toIntervalSecond(greatest($__interval_s, 1)), '')] AS step
    UNION ALL
    SELECT step.1 AS at, 'access' AS lane, step.2 AS what
    FROM
    (
        SELECT ts, concat('by ', relation) AS act
        FROM enriched_current
        WHERE $__timeFilter(ts) AND job_id IN ({jobs}) AND source NOT IN ('slurmctld', 'sacct', 'slurm_jobcomp', 'training', 'probe')
    )
    ARRAY JOIN [(ts, act), (ts + toIntervalSecond(greatest($__interval_s, 1)), '')] AS step
    UNION ALL
    SELECT step.1 AS at, 'evidence' AS lane, step.2 AS what
    FROM finding_evidence_current
    ARRAY JOIN [(event_time, toString(role)), (event_time + toIntervalSecond(greatest($__interval_s, 1)), '')] AS step
    WHERE finding_id IN ({evidence_of})
)
GROUP BY at ORDER BY at LIMIT 5000
"""
