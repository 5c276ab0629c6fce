DROP VIEW IF EXISTS {database}.losses_once{on_cluster} SYNC;

ALTER TABLE {database}.custody_log{on_cluster}
    COMMENT COLUMN IF EXISTS action 'exported, verified, held, released, listed',
    COMMENT COLUMN IF EXISTS subject 'finding, incident, bundle',
    COMMENT COLUMN IF EXISTS detail 'what came of it';

ALTER TABLE {database}.loss_lines{on_cluster}
    COMMENT COLUMN IF EXISTS kind 'invalid, hang, lost_progress, slowdown, restart, staff; others: lines that are not listed, together';
