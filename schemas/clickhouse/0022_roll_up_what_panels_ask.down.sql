DROP VIEW IF EXISTS {database}.detection_times{on_cluster} SYNC;
DROP VIEW IF EXISTS {database}.traffic{on_cluster} SYNC;
ALTER TABLE {database}.sink_ranges{on_cluster} DROP INDEX IF EXISTS by_inserted;
ALTER TABLE {database}.events{on_cluster} DROP PROJECTION IF EXISTS by_minute;
