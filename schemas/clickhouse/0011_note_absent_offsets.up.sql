-- Offsets of a range that held no record when it was read, as runs, so that a lost row is named exactly where a topic has holes.
-- Ranges noted before have none: there `hi - lo - offsets_written - length(listed_offsets)` alone tells how many were absent.
ALTER TABLE {database}.sink_ranges{on_cluster}
    ADD COLUMN IF NOT EXISTS gap_los Array(UInt64) COMMENT 'first offset of each run without records, ascending' AFTER token,
    ADD COLUMN IF NOT EXISTS gap_his Array(UInt64) COMMENT 'offset behind the last of each run' AFTER gap_los,
    ADD COLUMN IF NOT EXISTS gap_codes Array(LowCardinality(String))
        COMMENT 'absent: never handed out (transaction markers, aborted or compacted records); overtaken: deleted before it was read'
        AFTER gap_his;
