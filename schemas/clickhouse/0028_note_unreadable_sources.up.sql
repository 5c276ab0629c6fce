-- A source that was read and is not any more has no rows of `events`: neither silent nor heard.  Workers note it every quarter of a minute, by
-- the hour in which its lines were collected, as far as they know: at least so many.  An hour in here is a gap in the coverage.
CREATE TABLE IF NOT EXISTS {database}.unreadable_sources{on_cluster}
(
    hour DateTime64(3, 'UTC') COMMENT 'beginning of the hour, time of collection' CODEC(DoubleDelta, ZSTD(1)),
    cluster LowCardinality(String) COMMENT 'cluster',
    source LowCardinality(String) COMMENT 'source family that was read there before, e.g. auditd',
    host LowCardinality(String) COMMENT 'host; empty: its shipper does not say',
    topic LowCardinality(String) COMMENT 'input topic',
    partition UInt16 COMMENT 'its partition',
    file LowCardinality(String) COMMENT 'file that the shipper read, # for each number in its name',
    first_time DateTime64(3, 'UTC') COMMENT 'when the first line that could not be read was collected' CODEC(DoubleDelta, ZSTD(1)),
    last_time DateTime64(3, 'UTC') COMMENT 'the last one' CODEC(DoubleDelta, ZSTD(1)),
    unread UInt64 COMMENT 'lines that could not be read, at least' CODEC(T64, ZSTD(1)),
    _inserted DateTime('UTC') DEFAULT now() COMMENT 'when, by the clock of the server' CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = {replicated}MergeTree
PARTITION BY toMonday(hour)
ORDER BY (cluster, source, host, hour, topic, partition, file)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Hours in which most lines of a source, that was read before, could not be read, as workers noted.';

-- Beside `coverage_by_host`, which has what was read in the same hours.
CREATE VIEW IF NOT EXISTS {database}.coverage_gaps{on_cluster}
(
    cluster LowCardinality(String) COMMENT 'cluster',
    source LowCardinality(String) COMMENT 'source family, e.g. auditd',
    host LowCardinality(String) COMMENT 'host; empty: its shipper does not say',
    hour DateTime64(3, 'UTC') COMMENT 'beginning of the hour, time of collection',
    unread UInt64 COMMENT 'lines that could not be read, at least',
    first_time DateTime64(3, 'UTC') COMMENT 'when the first of them was collected',
    last_time DateTime64(3, 'UTC') COMMENT 'the last of them'
)
AS SELECT
    g.cluster AS cluster,
    g.source AS source,
    g.host AS host,
    g.hour AS hour,
    sum(g.most) AS unread,
    min(g.first) AS first_time,
    max(g.last) AS last_time
FROM
(
    SELECT cluster, source, host, hour, topic, partition, file, max(unread) AS most, min(first_time) AS first, max(last_time) AS last
    FROM {database}.unreadable_sources
    GROUP BY cluster, source, host, hour, topic, partition, file
) AS g
GROUP BY g.cluster, g.source, g.host, g.hour
COMMENT 'Per source, host and hour: most of what it said could not be read, so that no absence there proves anything.';
