-- What was heard per source, host and hour, and how long lines took from their event to the broker: which shipper lags, or stopped.
CREATE VIEW IF NOT EXISTS {database}.coverage_by_host{on_cluster} AS
SELECT
    e.cluster AS cluster,
    e.source AS source,
    e.host AS host,
    toStartOfHour(e.ts) AS hour,
    count() AS events,
    countIf(e.late) AS late,
    countIf(e.future) AS future,
    quantileTDigest(0.5)(dateDiff('millisecond', e.ts, e.kafka_time)) / 1000 AS delay_seconds_median,
    max(e.ts) AS ts_max
FROM {database}.events AS e
GROUP BY e.cluster, e.source, e.host, hour;

ALTER TABLE {database}.coverage_by_host{on_cluster} MODIFY COMMENT 'What was heard per source, host and hour; an hour without a row was silent.';
ALTER TABLE {database}.coverage_by_host{on_cluster}
    COMMENT COLUMN cluster 'cluster',
    COMMENT COLUMN source 'source family, e.g. auditd',
    COMMENT COLUMN host 'host; empty: the source does not say',
    COMMENT COLUMN hour 'beginning of the hour, event time',
    COMMENT COLUMN events 'rows, copies included',
    COMMENT COLUMN late 'came behind the watermark',
    COMMENT COLUMN future 'ahead of their own collection',
    COMMENT COLUMN delay_seconds_median 'from event to broker, half of them',
    COMMENT COLUMN ts_max 'the latest event time';
