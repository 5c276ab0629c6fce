ALTER TABLE {database}.sink_ranges{on_cluster}
    DROP COLUMN IF EXISTS gap_los,
    DROP COLUMN IF EXISTS gap_his,
    DROP COLUMN IF EXISTS gap_codes;
