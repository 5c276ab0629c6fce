-- What the shipper said of a line, without which it cannot be read again as it was: which file it stood in decides on job, zone and format.
-- Rows stored before have none of it: `backtest` reads their lines by format and job id alone.
ALTER TABLE {database}.events{on_cluster}
    ADD COLUMN IF NOT EXISTS file String COMMENT 'file of the line, as the shipper says' CODEC(ZSTD(1)) AFTER future,
    ADD COLUMN IF NOT EXISTS file_offset Int64 DEFAULT -1 COMMENT 'bytes before the line in its file; -1: not said' CODEC(Delta, ZSTD(1)) AFTER file,
    ADD COLUMN IF NOT EXISTS program LowCardinality(String) COMMENT 'program that wrote the line, as the shipper says' AFTER file_offset;
