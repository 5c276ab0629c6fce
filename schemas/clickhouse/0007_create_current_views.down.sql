DROP VIEW IF EXISTS {database}.finding_evidence_current{on_cluster} SYNC;
DROP VIEW IF EXISTS {database}.findings_current{on_cluster} SYNC;
DROP VIEW IF EXISTS {database}.verdicts_current{on_cluster} SYNC;
DROP VIEW IF EXISTS {database}.enriched_current{on_cluster} SYNC;
