-- What incidents cost, line by line; read the view `loss_lines_current`.  Lines of one ledger add up to its total, and none counts an hour
-- that another one counts.
CREATE TABLE IF NOT EXISTS {database}.loss_lines{on_cluster}
(
    incident_id String COMMENT 'incidents.incident_id',
    position UInt16 COMMENT 'place of the line',
    ledger LowCardinality(String) COMMENT 'direct: computing time; indirect: people''s time, as somebody states it',
    kind LowCardinality(String) COMMENT 'invalid, hang, lost_progress, slowdown, restart, staff; others: lines that are not listed, together',
    job_id String COMMENT 'raw id of the job; empty: of none',
    attempt String COMMENT 'cluster/job/submit/start; empty: of none',
    gpu_hours_low Float64 COMMENT 'hours, what the records prove',
    gpu_hours_middle Float64 COMMENT 'hours, what findings above their gate claim',
    gpu_hours_high Float64 COMMENT 'hours, with findings below their gate',
    money_low Float64 COMMENT 'in `currency`',
    money_middle Float64 COMMENT 'in `currency`',
    money_high Float64 COMMENT 'in `currency`',
    currency LowCardinality(String) COMMENT 'ISO 4217; empty: no prices are set',
    method LowCardinality(String) COMMENT 'rent, own, hours only, as stated',
    formula String COMMENT 'how the figures come about',
    note String COMMENT 'what was left out of a reading, and why',
    evidence Array(String) COMMENT 'ids of events; of stated hours where they are stated',
    _version UInt64,
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64,
    _index UInt16,
    _incarnation LowCardinality(String),
    _inserted DateTime('UTC') DEFAULT now(),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree(_version)
PARTITION BY toMonday(_inserted)
ORDER BY (incident_id, position)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1
COMMENT 'What incidents cost, line by line. Read loss_lines_current: an incident may have been worked out again.';

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
