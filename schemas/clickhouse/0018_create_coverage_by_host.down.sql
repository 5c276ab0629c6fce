DROP VIEW IF EXISTS {database}.coverage_by_host{on_cluster} SYNC;
