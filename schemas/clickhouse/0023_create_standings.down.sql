DROP TABLE IF EXISTS {database}.standings{on_cluster} SYNC;
