DROP TABLE IF EXISTS {database}.finding_evidence{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.findings{on_cluster} SYNC;
