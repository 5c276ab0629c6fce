-- A leaf is of a run of records from this release on; of one in rows that are older.
ALTER TABLE {database}.evidence_roots{on_cluster} COMMENT COLUMN leaves
    'one JSON text per leaf and line: of each of its records offset, time, key, headers, sha256, what was stored of it';
ALTER TABLE {database}.evidence_roots_held{on_cluster} COMMENT COLUMN leaves
    'one JSON text per leaf and line: of each of its records offset, time, key, headers, sha256, what was stored of it';
