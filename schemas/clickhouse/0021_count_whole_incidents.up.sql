-- A campaign of thousands of findings is told in part and counted whole: these columns count, those list the first.
ALTER TABLE {database}.incidents{on_cluster}
    COMMENT COLUMN IF EXISTS attempts 'affected, all of them',
    COMMENT COLUMN IF EXISTS aliases 'incident ids under which it may have been known, the first 500',
    COMMENT COLUMN IF EXISTS users 'owners of affected or exposed attempts, the first 200',
    COMMENT COLUMN IF EXISTS projects 'projects of affected or exposed attempts, the first 200';

ALTER TABLE {database}.incident_findings{on_cluster}
    COMMENT COLUMN IF EXISTS position 'place in time among those told in full, then among those told by their ids';
