-- The database itself stays: it may hold tables of others.
DROP TABLE IF EXISTS {database}.migrations{on_cluster} SYNC;
