DROP VIEW IF EXISTS {database}.coverage_by_topic{on_cluster} SYNC;
CREATE OR REPLACE VIEW {database}.coverage{on_cluster}
(
    cluster LowCardinality(String) COMMENT 'cluster',
    source LowCardinality(String) COMMENT 'source family, e.g. auditd',
    hour DateTime('UTC') COMMENT 'beginning of the hour, event time',
    events UInt64 COMMENT 'rows, copies included',
    events_distinct UInt64 COMMENT 'different events',
    duplicates Int64 COMMENT 'copies too many',
    late UInt64 COMMENT 'came behind the watermark',
    future UInt64 COMMENT 'ahead of their own collection',
    hosts UInt64 COMMENT 'hosts heard, about',
    ts_max DateTime64(3, 'UTC') COMMENT 'the latest event time'
)
AS SELECT
    e.cluster AS cluster,
    e.source AS source,
    toStartOfHour(e.ts) AS hour,
    count() AS events,
    uniqExact(e.event_id) AS events_distinct,
    count() - uniqExact(e.event_id) AS duplicates,
    countIf(e.late) AS late,
    countIf(e.future) AS future,
    uniq(e.host) AS hosts,
    max(e.ts) AS ts_max
FROM {database}.events AS e
GROUP BY e.cluster, e.source, hour
COMMENT 'What was heard per source and hour; an hour without a row was silent.';
ALTER TABLE {database}.events{on_cluster} DROP COLUMN IF EXISTS truncated;
