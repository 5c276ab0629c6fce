DROP TABLE IF EXISTS {database}.verdicts{on_cluster} SYNC;
