-- What was done to this database, in order.  The runner adds a row when a migration starts and another when it has ended;
-- the newest row of a number counts.
CREATE DATABASE IF NOT EXISTS {database}{on_cluster};

CREATE TABLE IF NOT EXISTS {database}.migrations{on_cluster}
(
    number UInt32,
    name String,
    state LowCardinality(String) COMMENT 'started, applied, reverted',
    checksum String COMMENT 'sha256 of both files before substitution, hex',
    release String COMMENT 'version of trainwatch that did it',
    step DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {replicated}MergeTree
ORDER BY (number, step);
