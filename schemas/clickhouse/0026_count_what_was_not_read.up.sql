-- A line that its shipper cut is a row whose attributes say so; these are withheld from many who may read the counts, and long to read.
ALTER TABLE {database}.events{on_cluster}
    ADD COLUMN IF NOT EXISTS truncated Bool MATERIALIZED mapContains(attrs, 'truncated') COMMENT 'its shipper cut the line' AFTER future;

CREATE OR REPLACE VIEW {database}.coverage{on_cluster}
(
    cluster LowCardinality(String) COMMENT 'cluster',
    source LowCardinality(String) COMMENT 'source family, e.g. auditd; refused: lines of batches that could not be read',
    hour DateTime('UTC') COMMENT 'beginning of the hour, event time',
    events UInt64 COMMENT 'rows, copies included',
    events_distinct UInt64 COMMENT 'different events',
    duplicates Int64 COMMENT 'copies too many',
    late UInt64 COMMENT 'came behind the watermark',
    future UInt64 COMMENT 'ahead of their own collection',
    hosts UInt64 COMMENT 'hosts heard, about',
    ts_max DateTime64(3, 'UTC') COMMENT 'the latest event time',
    truncated UInt64 COMMENT 'rows of lines that their shipper cut: what stood behind the cut is not known'
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
    max(e.ts) AS ts_max,
    countIf(e.truncated) AS truncated
FROM {database}.events AS e
GROUP BY e.cluster, e.source, hour
COMMENT 'What was heard per source and hour; an hour without a row was silent.';

-- A record that nobody could read has neither source nor event time: it is counted for its topic, in the hour in which its range was stored.
-- A range that was noted again counts once; again in another hour, before a merge, it counts in both.
CREATE OR REPLACE VIEW {database}.coverage_by_topic{on_cluster}
(
    topic LowCardinality(String) COMMENT 'input topic',
    hour DateTime('UTC') COMMENT 'beginning of the hour in which their ranges were stored, by the clock',
    records UInt64 COMMENT 'records that were read',
    written UInt64 COMMENT 'of them with at least one row',
    dead_letters UInt64 COMMENT 'of them that could not be read or kept',
    filtered UInt64 COMMENT 'of them that hold nothing to keep',
    codes Map(LowCardinality(String), UInt64) COMMENT 'how many records were not written, by code'
)
AS SELECT
    r.topic AS topic,
    r.hour AS hour,
    sum(r.kept) + sum(length(r.codes)) AS records,
    sum(r.kept) AS written,
    sum(arrayCount(code -> code NOT IN ('control', 'nothing_to_keep'), r.codes)) AS dead_letters,
    sum(arrayCount(code -> code IN ('control', 'nothing_to_keep'), r.codes)) AS filtered,
    sumMap(r.codes, arrayMap(code -> toUInt64(1), r.codes)::Array(UInt64)) AS codes
FROM
(
    SELECT
        topic,
        toStartOfHour(_inserted) AS hour,
        any(offsets_written) AS kept,
        any(listed_codes) AS codes
    FROM {database}.sink_ranges
    GROUP BY topic, hour, incarnation, partition, lo, hi
) AS r
GROUP BY r.topic, r.hour
COMMENT 'What became of the records of an input topic, per hour; by source and event time it is not known of a dead letter. Filter on hour.';
