DROP TABLE IF EXISTS {database}.erasures{on_cluster} SYNC;
