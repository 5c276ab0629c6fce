-- One row per event, in the order of the questions asked of it: a job's lines, a host's lines, a period.
-- A week is a partition, so that panels over time read few of them and retention drops whole parts.  Retention counts from the
-- insert, not from the event, or a replay of old logs would be dropped at once.  `_inserted` is the server's, never written.
CREATE TABLE IF NOT EXISTS {database}.events{on_cluster}
(
    ts DateTime64(3, 'UTC') COMMENT 'event time' CODEC(Delta, ZSTD(1)),
    collected_time DateTime64(3, 'UTC') COMMENT 'when the shipper read it; 1970: it does not say' CODEC(Delta, ZSTD(1)),
    kafka_time DateTime64(3, 'UTC') COMMENT 'timestamp of the Kafka record' CODEC(Delta, ZSTD(1)),
    cluster LowCardinality(String),
    source LowCardinality(String) COMMENT 'source family, e.g. auditd',
    kind LowCardinality(String) COMMENT 'kind of event, e.g. signal_sent',
    host LowCardinality(String),
    job_id String COMMENT 'raw job id, when the line or its file names one',
    actor String COMMENT 'identity, as valid at event time',
    event_id String COMMENT 'the same on every replay',
    sha256 String COMMENT 'of the payload line, hex',
    attrs Map(LowCardinality(String), String) COMMENT 'typed fields and what no field takes',
    raw String COMMENT 'payload line, bytes as received' CODEC(ZSTD(3)),
    late Bool COMMENT 'came behind the watermark',
    future Bool COMMENT 'ahead of its own collection: moves no watermark',
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64 CODEC(Delta, ZSTD(1)),
    _index UInt16 COMMENT 'number of the event in its record',
    _incarnation LowCardinality(String) COMMENT 'of the topic: a recreated topic counts offsets from 0 again',
    _inserted DateTime('UTC') DEFAULT now() CODEC(Delta, ZSTD(1)),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_job_id job_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = {replicated}MergeTree
PARTITION BY toMonday(ts)
ORDER BY (cluster, source, job_id, host, ts)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;
