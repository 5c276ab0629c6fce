-- What was heard per source and hour: an hour without a row was silent.  Duplicates are events that came more than once.
CREATE VIEW IF NOT EXISTS {database}.coverage{on_cluster} AS
SELECT
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
GROUP BY e.cluster, e.source, hour;
