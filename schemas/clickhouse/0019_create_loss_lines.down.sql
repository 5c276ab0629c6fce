DROP VIEW IF EXISTS {database}.loss_lines_current{on_cluster} SYNC;
DROP TABLE IF EXISTS {database}.loss_lines{on_cluster} SYNC;
