-- Comments stay: they are text.
DROP VIEW IF EXISTS {database}.detector_quality{on_cluster} SYNC;
DROP VIEW IF EXISTS {database}.labels_current{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.labels{on_cluster} SYNC;
