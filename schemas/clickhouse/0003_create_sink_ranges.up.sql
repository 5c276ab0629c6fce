-- One row per offset range that was made durable, also for ranges without rows: read = offsets_written + listed.
-- Offsets that were not written are listed with their code.  Writing a range again is harmless.
CREATE TABLE IF NOT EXISTS {database}.sink_ranges{on_cluster}
(
    topic LowCardinality(String),
    incarnation LowCardinality(String),
    partition UInt16,
    lo UInt64 COMMENT 'first offset',
    hi UInt64 COMMENT 'offset behind the last',
    rows UInt64 COMMENT 'rows inserted for it, all tables',
    offsets_written UInt64 COMMENT 'distinct offsets with at least one row',
    listed_offsets Array(UInt64) COMMENT 'offsets that were filtered or dead-lettered, ascending',
    listed_codes Array(LowCardinality(String)) COMMENT 'why, in the same order',
    settings_digest LowCardinality(String),
    token String COMMENT 'insert_deduplication_token of the range',
    _inserted DateTime('UTC') DEFAULT now()
)
ENGINE = {replicated}ReplacingMergeTree
PARTITION BY toMonday(_inserted)
ORDER BY (topic, incarnation, partition, lo, hi)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;
