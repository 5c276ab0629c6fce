ALTER TABLE {database}.events{on_cluster}
    DROP COLUMN IF EXISTS program,
    DROP COLUMN IF EXISTS file_offset,
    DROP COLUMN IF EXISTS file;
