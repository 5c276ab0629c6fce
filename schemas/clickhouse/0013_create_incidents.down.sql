DROP VIEW IF EXISTS {database}.attribution_current{on_cluster} SYNC;
DROP VIEW IF EXISTS {database}.incident_findings_current{on_cluster} SYNC;
DROP VIEW IF EXISTS {database}.incidents_current{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.incident_journal{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.attribution{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.incident_findings{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.incidents{on_cluster} SYNC;
