-- One row per sealed range of an input partition: a Merkle root over all its records, chained to the range before, signed, and the leaves.
-- The same range sealed again after a crash has the same head, and the rows become one; two heads over one range stay, and are a fork.
CREATE TABLE IF NOT EXISTS {database}.evidence_roots{on_cluster}
(
    topic LowCardinality(String),
    incarnation LowCardinality(String),
    partition UInt16,
    number UInt64 COMMENT 'of the range in its chain, from 1' CODEC(Delta, ZSTD(1)),
    lo UInt64 COMMENT 'first offset' CODEC(Delta, ZSTD(1)),
    hi UInt64 COMMENT 'offset behind the last' CODEC(Delta, ZSTD(1)),
    records UInt64,
    root String COMMENT 'Merkle root over the leaves, hex',
    previous String COMMENT 'head of the range before, hex',
    head String COMMENT 'names this range and all before it, hex',
    signing_key LowCardinality(String) COMMENT 'id of the key',
    sealed_time DateTime64(3, 'UTC') COMMENT 'by the clock of the worker' CODEC(Delta, ZSTD(1)),
    settings_digest LowCardinality(String),
    identities_digest LowCardinality(String),
    software LowCardinality(String),
    signature String COMMENT 'Ed25519 over the seal, hex',
    leaves String COMMENT 'one JSON text per record and line: offset, time, key, headers, sha256, what was stored of it' CODEC(ZSTD(3)),
    _inserted DateTime('UTC') DEFAULT now()
)
ENGINE = {replicated}ReplacingMergeTree
PARTITION BY toMonday(_inserted)
ORDER BY (topic, incarnation, partition, number, lo, hi, head)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;

-- What somebody put on hold is kept without an end: copies of rows, of the ranges that prove them, and of whole records from Kafka.
CREATE TABLE IF NOT EXISTS {database}.events_held{on_cluster}
(
    hold String COMMENT 'finding or incident id',
    ts DateTime64(3, 'UTC'),
    kafka_time DateTime64(3, 'UTC'),
    event_id String,
    sha256 String,
    raw String CODEC(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64,
    _index UInt16,
    _incarnation LowCardinality(String)
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY (hold, _topic, _incarnation, _partition, _offset, _index);

CREATE TABLE IF NOT EXISTS {database}.evidence_roots_held{on_cluster}
(
    hold String COMMENT 'finding or incident id',
    topic LowCardinality(String),
    incarnation LowCardinality(String),
    partition UInt16,
    number UInt64,
    lo UInt64,
    hi UInt64,
    records UInt64,
    root String,
    previous String,
    head String,
    signing_key LowCardinality(String),
    sealed_time DateTime64(3, 'UTC'),
    settings_digest LowCardinality(String),
    identities_digest LowCardinality(String),
    software LowCardinality(String),
    signature String,
    leaves String CODEC(ZSTD(3))
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY (hold, topic, incarnation, partition, number, lo, hi, head);

CREATE TABLE IF NOT EXISTS {database}.records_held{on_cluster}
(
    hold String COMMENT 'finding or incident id',
    topic LowCardinality(String),
    incarnation LowCardinality(String),
    partition UInt16,
    offset UInt64,
    value String COMMENT 'of the Kafka record, as it was' CODEC(ZSTD(3))
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY (hold, topic, incarnation, partition, offset);

-- Who looked at, took out or held which evidence, and when.  Rows are added and never changed; no row is ever dropped by age.
CREATE TABLE IF NOT EXISTS {database}.custody_log{on_cluster}
(
    time DateTime64(3, 'UTC') COMMENT 'when, by the clock of the machine',
    account String COMMENT 'who: account and machine',
    action LowCardinality(String) COMMENT 'exported, verified, held, released, listed',
    subject String COMMENT 'finding, incident, bundle',
    detail String COMMENT 'what came of it',
    sha256 String COMMENT 'of the bundle that was written, hex',
    software LowCardinality(String)
)
ENGINE = {replicated}MergeTree
ORDER BY (time, account, action);
