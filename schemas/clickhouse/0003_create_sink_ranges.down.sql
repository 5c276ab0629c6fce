DROP TABLE IF EXISTS {database}.sink_ranges{on_cluster} SYNC;
