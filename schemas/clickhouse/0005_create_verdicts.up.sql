-- What is said of every ended attempt.  Read `verdicts_current`.
CREATE TABLE IF NOT EXISTS {database}.verdicts{on_cluster}
(
    end_time DateTime64(3, 'UTC') COMMENT 'when the attempt ended, as the scheduler says',
    cluster LowCardinality(String),
    job_id String,
    attempt String COMMENT 'cluster/job/submit/start',
    submit_time DateTime64(3, 'UTC'),
    start_time Nullable(DateTime64(3, 'UTC')) COMMENT 'NULL: never started',
    verdict_id String,
    owner String,
    owner_uid Nullable(UInt32),
    state LowCardinality(String) COMMENT 'the scheduler''s',
    verdict LowCardinality(String) COMMENT 'benign, unexplained, interference',
    cause LowCardinality(String) COMMENT 'e.g. completed, owner_cancel, time_limit, hardware',
    status LowCardinality(String) COMMENT 'provisional, final, retracted',
    by_role LowCardinality(String) COMMENT 'acquitting record; empty: none',
    by_event_id String,
    by_sha256 String,
    by_source LowCardinality(String),
    by_time Nullable(DateTime64(3, 'UTC')),
    by_summary String,
    findings Array(String) COMMENT 'ids of the findings under which it falls',
    checklist Array(Tuple(name String, answer String, by String, note String, missing Array(String))),
    nodes Array(String),
    gpus Nullable(UInt32),
    closes_at DateTime64(3, 'UTC') COMMENT 'event time after which it is final',
    revision UInt32,
    watermarks Map(String, Int64) COMMENT 'UTC ms passed per family, when it was judged',
    silent Array(String) COMMENT 'families never heard',
    settings_digest LowCardinality(String),
    software LowCardinality(String),
    canonical String COMMENT 'canonical body, JSON' CODEC(ZSTD(3)),
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
PARTITION BY toMonday(end_time)
ORDER BY (cluster, job_id, verdict_id)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;
