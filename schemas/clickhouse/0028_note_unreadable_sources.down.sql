DROP VIEW IF EXISTS {database}.coverage_gaps{on_cluster} SYNC;

DROP TABLE IF EXISTS {database}.unreadable_sources{on_cluster} SYNC;
