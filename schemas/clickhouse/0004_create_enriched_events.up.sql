-- Events that touch a job, with owner and relation.  Deterministic ids; the greatest `_version` of an id counts:
-- (claim epoch of the producing partition << 40) + offset.  Read `enriched_current`.
CREATE TABLE IF NOT EXISTS {database}.enriched_events{on_cluster}
(
    ts DateTime64(3, 'UTC') COMMENT 'event time' CODEC(Delta, ZSTD(1)),
    cluster LowCardinality(String),
    job_id String,
    attempt String COMMENT 'cluster/job/submit/start',
    enriched_id String,
    event_id String,
    owner String COMMENT 'identity of the job''s owner',
    source LowCardinality(String),
    kind LowCardinality(String),
    host LowCardinality(String),
    actor String COMMENT 'identity that acted',
    relation LowCardinality(String) COMMENT 'of actor to owner: owner, team, service, admin, root, daemon, foreign, unknown',
    matched LowCardinality(String) COMMENT 'how it touches the job: job, pid, owner, host, artefact',
    sha256 String COMMENT 'of the payload line, hex',
    attrs Map(LowCardinality(String), String),
    revision UInt32,
    canonical String COMMENT 'canonical body, JSON' CODEC(ZSTD(3)),
    _version UInt64,
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64,
    _index UInt16,
    _incarnation LowCardinality(String),
    _inserted DateTime('UTC') DEFAULT now(),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = {replicated}ReplacingMergeTree(_version)
PARTITION BY toMonday(ts)
ORDER BY (cluster, job_id, ts, enriched_id)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;
