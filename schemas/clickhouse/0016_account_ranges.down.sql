DROP VIEW IF EXISTS {database}.range_accounts{on_cluster} SYNC;
