DROP TABLE IF EXISTS {database}.enriched_events{on_cluster} SYNC;
