DROP VIEW IF EXISTS {database}.coverage{on_cluster} SYNC;
