-- Where workers stood: per partition how many records waited and how much is remembered, every quarter of a minute, by the clock.  Beside the
-- worker's own metrics, so that who has only ClickHouse sees lag and growth too.  A row that could not be written is not written again.
CREATE TABLE IF NOT EXISTS {database}.standings{on_cluster}
(
    topic LowCardinality(String) COMMENT 'topic that is read',
    partition UInt16 COMMENT 'its partition',
    stage LowCardinality(String) COMMENT 'stage that reads it',
    worker LowCardinality(String) COMMENT 'its name in the consumer group; empty: it has none',
    durable UInt64 COMMENT 'offset at which a restart would go on' CODEC(DoubleDelta, ZSTD(1)),
    lag UInt64 COMMENT 'records behind it that wait' CODEC(T64, ZSTD(1)),
    lag_seconds Nullable(UInt32) COMMENT 'age in Kafka of the last record that was folded, 0 without lag; NULL: none was yet' CODEC(ZSTD(1)),
    state_bytes UInt64 COMMENT 'what the partition remembers, as it is kept in the state topic' CODEC(DoubleDelta, ZSTD(1)),
    state_cases UInt32 COMMENT 'cases that it remembers' CODEC(DoubleDelta, ZSTD(1)),
    _inserted DateTime('UTC') DEFAULT now() COMMENT 'when, by the clock of the server' CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = {replicated}MergeTree
PARTITION BY toMonday(_inserted)
ORDER BY (topic, partition, _inserted)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Where workers stood: lag and size of the state per partition, by the clock.';
