ALTER TABLE {database}.incidents{on_cluster}
    COMMENT COLUMN IF EXISTS attempts 'affected, as listed',
    COMMENT COLUMN IF EXISTS aliases 'incident ids under which it may have been known',
    COMMENT COLUMN IF EXISTS users 'owners of affected attempts',
    COMMENT COLUMN IF EXISTS projects 'their teams or accounts';

ALTER TABLE {database}.incident_findings{on_cluster}
    COMMENT COLUMN IF EXISTS position 'place in time';
