DROP TABLE IF EXISTS {database}.custody_log{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.records_held{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.evidence_roots_held{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.events_held{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.evidence_roots{on_cluster} SYNC;
