-- Counts per source and minute, kept beside the events by the server itself: a panel over a day reads some thousand rows instead of a week.
-- A projection belongs to its part, so an insert that is repeated or a part that is dropped leaves it right, which a table of its own
-- would not.  It serves queries that ask for these very expressions: the view `traffic`.  Older parts get it in the background.
ALTER TABLE {database}.events{on_cluster} ADD PROJECTION IF NOT EXISTS by_minute
(
    SELECT cluster, source, toStartOfMinute(ts), count(), countIf(late), countIf(future), maxIf(ts, NOT future)
    GROUP BY cluster, source, toStartOfMinute(ts)
);
-- Without this a lightweight DELETE is refused on a table with a projection.
ALTER TABLE {database}.events{on_cluster} MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild';
ALTER TABLE {database}.events{on_cluster} MATERIALIZE PROJECTION by_minute SETTINGS mutations_sync = 0;

CREATE OR REPLACE VIEW {database}.traffic{on_cluster}
(
    cluster LowCardinality(String) COMMENT 'cluster',
    source LowCardinality(String) COMMENT 'source family, e.g. auditd',
    minute DateTime('UTC') COMMENT 'beginning of the minute, event time',
    events UInt64 COMMENT 'rows, copies included',
    late UInt64 COMMENT 'came behind the watermark',
    future UInt64 COMMENT 'ahead of their own collection',
    ts_max DateTime64(3, 'UTC') COMMENT 'the latest event time that is not of the future; 1970: there is none'
)
AS SELECT
    e.cluster AS cluster,
    e.source AS source,
    toStartOfMinute(e.ts) AS minute,
    count() AS events,
    countIf(e.late) AS late,
    countIf(e.future) AS future,
    maxIf(e.ts, NOT e.future) AS ts_max
FROM {database}.events AS e
GROUP BY e.cluster, e.source, minute
COMMENT 'What was heard per source and minute; cheap over long times. Filter on minute.';

-- A range a second and partition makes many rows: those of a day are found by their time, which grows along the sort key.
ALTER TABLE {database}.sink_ranges{on_cluster} ADD INDEX IF NOT EXISTS by_inserted _inserted TYPE minmax GRANULARITY 1;
ALTER TABLE {database}.sink_ranges{on_cluster} MATERIALIZE INDEX by_inserted SETTINGS mutations_sync = 0;

-- The first word on a finding is known until a merge leaves the newest alone; from then on its time is that of a later one.
CREATE OR REPLACE VIEW {database}.detection_times{on_cluster}
(
    cluster LowCardinality(String) COMMENT 'cluster',
    finding_id String COMMENT 'findings.finding_id',
    detector String COMMENT 'e.g. p03_foreign_cancel',
    status String COMMENT 'provisional, final, retracted',
    alert Bool COMMENT 'above the gate',
    cause_time DateTime64(3, 'UTC') COMMENT 'when the cause happened',
    effect_time DateTime64(3, 'UTC') COMMENT 'when the effect showed',
    first_stored DateTime('UTC') COMMENT 'when the first word on it that is still there was stored, by the clock',
    closes_at DateTime64(3, 'UTC') COMMENT 'event time after which it is final',
    seconds_to_first Nullable(Int64) COMMENT 'from the effect to first_stored; NULL: a day and more, which is a replay of old logs',
    seconds_to_final Int64 COMMENT 'from the effect to closes_at'
)
AS SELECT
    f.cluster AS cluster,
    f.finding_id AS finding_id,
    f.detector AS detector,
    f.status AS status,
    f.alert AS alert,
    f.cause_time AS cause_time,
    f.effect_time AS effect_time,
    w.stored AS first_stored,
    f.closes_at AS closes_at,
    if(dateDiff('second', f.effect_time, w.stored) < 86400, dateDiff('second', f.effect_time, w.stored), NULL) AS seconds_to_first,
    dateDiff('second', f.effect_time, f.closes_at) AS seconds_to_final
FROM {database}.findings_current AS f
INNER JOIN (SELECT v.finding_id AS finding_id, min(v._inserted) AS stored FROM {database}.findings AS v GROUP BY v.finding_id) AS w
    ON w.finding_id = f.finding_id
COMMENT 'How long it took from the effect to the first word and to the last one, per finding.';
