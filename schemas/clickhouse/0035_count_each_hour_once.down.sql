CREATE OR REPLACE VIEW {database}.losses_once{on_cluster} AS
SELECT
    t.cluster AS cluster,
    t.ledger AS ledger,
    t.attempt AS attempt,
    t.job_id AS job_id,
    t.incidents AS incidents,
    t.first_time AS first_time,
    t.last_time AS last_time,
    t.gpu_hours_low AS gpu_hours_low,
    t.gpu_hours_middle AS gpu_hours_middle,
    if(v.held > 0, greatest(t.gpu_hours_middle, least(t.inside, v.held) + t.behind), t.inside + t.behind) AS gpu_hours_high,
    t.money_low AS money_low,
    t.money_middle AS money_middle,
    if(v.held > 0 AND t.inside > v.held, greatest(t.money_middle, t.money_high * gpu_hours_high / (t.inside + t.behind)), t.money_high)
        AS money_high,
    t.currency AS currency
FROM
(
    SELECT
        c.cluster AS cluster,
        c.ledger AS ledger,
        c.attempt AS attempt,
        any(c.job_id) AS job_id,
        groupUniqArray(c.incident_id) AS incidents,
        min(c.first_time) AS first_time,
        max(c.last_time) AS last_time,
        max(c.hours_low) AS gpu_hours_low,
        max(c.hours_middle) AS gpu_hours_middle,
        arraySum(mapValues(mapFilter((kind, hours) -> kind != 'restart', maxMap(c.hours_high)))) AS inside,
        maxMap(c.hours_high)['restart'] AS behind,
        maxMap(map(c.currency, c.paid_low))[currency] AS money_low,
        maxMap(map(c.currency, c.paid_middle))[currency] AS money_middle,
        arraySum(mapValues(mapFilter((priced, paid) -> startsWith(priced, concat(currency, ' ')), maxMap(c.paid_high)))) AS money_high,
        argMaxIf(c.currency, (c.last_time, c.incident_id), c.currency != '') AS currency
    FROM
    (
        SELECT
            i.cluster AS cluster,
            i.incident_id AS incident_id,
            l.ledger AS ledger,
            l.attempt AS attempt,
            any(l.job_id) AS job_id,
            any(i.first_time) AS first_time,
            any(i.last_time) AS last_time,
            sum(l.gpu_hours_low) AS hours_low,
            sum(l.gpu_hours_middle) AS hours_middle,
            sumMap(map(toString(l.kind), l.gpu_hours_high)) AS hours_high,
            sum(l.money_low) AS paid_low,
            sum(l.money_middle) AS paid_middle,
            sumMap(map(concat(toString(l.currency), ' ', toString(l.kind)), l.money_high)) AS paid_high,
            max(toString(l.currency)) AS currency
        FROM {database}.loss_lines_current AS l
        INNER JOIN {database}.incidents_current AS i ON i.incident_id = l.incident_id
        WHERE i.status != 'retracted'
        GROUP BY cluster, incident_id, ledger, attempt
    ) AS c
    GROUP BY c.cluster, c.ledger, c.attempt, if(c.attempt = '', c.incident_id, '')
) AS t
LEFT JOIN
(
    SELECT
        attempt,
        argMax(ifNull(gpus, 0) * ifNull(date_diff('millisecond', start_time, end_time), 0) / 3600000, _version) AS held
    FROM {database}.verdicts
    WHERE attempt IN (SELECT attempt FROM {database}.loss_lines)
    GROUP BY attempt
) AS v ON v.attempt = t.attempt
COMMENT 'Losses of all incidents, by attempt: of hours that several claim each counts once. What none lists by attempt stands by incident, in full.';

ALTER TABLE {database}.losses_once{on_cluster}
    COMMENT COLUMN cluster 'cluster',
    COMMENT COLUMN ledger 'direct: computing time; indirect: people''s time, as somebody states it',
    COMMENT COLUMN attempt 'cluster/job/submit/start; empty: people''s time, or what an incident does not list by attempt',
    COMMENT COLUMN job_id 'raw id of the job; empty: of none',
    COMMENT COLUMN incidents 'that claim something of it',
    COMMENT COLUMN first_time 'first act of the earliest of them',
    COMMENT COLUMN last_time 'last effect of the latest of them',
    COMMENT COLUMN gpu_hours_low 'hours, the largest claim of one incident: none is counted twice',
    COMMENT COLUMN gpu_hours_middle 'hours, the largest claim of one incident: none is counted twice',
    COMMENT COLUMN gpu_hours_high 'hours, the largest claims of each kind, and no more than the attempt held',
    COMMENT COLUMN money_low 'in `currency`, as the hours',
    COMMENT COLUMN money_middle 'in `currency`, as the hours',
    COMMENT COLUMN money_high 'in `currency`, as the hours',
    COMMENT COLUMN currency 'ISO 4217; empty: no prices are set';
