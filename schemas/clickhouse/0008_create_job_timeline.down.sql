DROP VIEW IF EXISTS {database}.job_timeline{on_cluster} SYNC;
