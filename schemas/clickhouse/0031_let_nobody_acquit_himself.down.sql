DROP VIEW IF EXISTS {database}.dismissed_current{on_cluster} SYNC;
