ALTER TABLE {database}.evidence_roots{on_cluster} COMMENT COLUMN leaves
    'one JSON text per record and line: offset, time, key, headers, sha256, what was stored of it';
ALTER TABLE {database}.evidence_roots_held{on_cluster} COMMENT COLUMN leaves
    'one JSON text per record and line: offset, time, key, headers, sha256, what was stored of it';
