CREATE OR REPLACE VIEW {database}.loss_lines_current{on_cluster} AS
SELECT
    l.incident_id AS incident_id,
    l.position AS position,
    l.ledger AS ledger,
    l.kind AS kind,
    l.job_id AS job_id,
    l.attempt AS attempt,
    l.gpu_hours_low AS gpu_hours_low,
    l.gpu_hours_middle AS gpu_hours_middle,
    l.gpu_hours_high AS gpu_hours_high,
    l.money_low AS money_low,
    l.money_middle AS money_middle,
    l.money_high AS money_high,
    l.currency AS currency,
    l.method AS method,
    l.formula AS formula,
    l.note AS note,
    l.evidence AS evidence
FROM {database}.loss_lines AS l
WHERE (l.incident_id, l._version) IN
(
    SELECT v.incident_id, max(v._version)
    FROM {database}.incidents AS v
    GROUP BY v.incident_id
)
ORDER BY l.incident_id, l.position
LIMIT 1 BY l.incident_id, l.position
COMMENT 'What incidents cost, line by line, as it was worked out last.';

ALTER TABLE {database}.loss_lines{on_cluster}
    DROP COLUMN IF EXISTS inputs,
    DROP COLUMN IF EXISTS nodes,
    DROP COLUMN IF EXISTS gpus,
    COMMENT COLUMN ledger 'direct: computing time; indirect: people''s time, as somebody states it',
    COMMENT COLUMN kind 'invalid, held, hang, lost_progress, slowdown, restart, staff; others: lines that are not listed, together',
    COMMENT COLUMN method 'rent, own, hours only, as stated';
