-- Whoever doubts an amount has to be able to work it out again: GPUs, times, shares and prices, for each reading.
ALTER TABLE {database}.loss_lines{on_cluster}
    ADD COLUMN IF NOT EXISTS gpus UInt32 DEFAULT 0
        COMMENT 'GPUs of the attempt, all nodes together; 0: of people''s time, of lines put together, or a release before did not say'
        AFTER evidence,
    ADD COLUMN IF NOT EXISTS nodes UInt32 DEFAULT 0 COMMENT 'its nodes' AFTER gpus,
    ADD COLUMN IF NOT EXISTS inputs Array(Tuple(
        reading String, start Nullable(DateTime64(3, 'UTC')), end Nullable(DateTime64(3, 'UTC')), share Float64, elsewhere Float64,
        prices Array(Tuple(hours Float64, per_hour Float64, formula String))
    )) DEFAULT []
        COMMENT 'by reading: GPU-hours = gpus x (end - start) x share - elsewhere, counted in other lines; money = sum of hours x per_hour'
        AFTER nodes,
    COMMENT COLUMN ledger 'direct: computing time; indirect: people''s time and delay, as somebody states it',
    COMMENT COLUMN kind 'invalid, held, hang, lost_progress, slowdown, restart, staff, delay; others: lines that are not listed, together',
    COMMENT COLUMN method 'rent, own, both by turns (rent then own), hours only, as stated';

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
    l.evidence AS evidence,
    l.gpus AS gpus,
    l.nodes AS nodes,
    l.inputs AS inputs
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
