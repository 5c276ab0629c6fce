-- A signal or a command that the kernel told in several lines had no text, and is what one looks for.
CREATE OR REPLACE VIEW {database}.job_timeline{on_cluster} AS
SELECT
    t.cluster AS cluster,
    t.job_id AS job_id,
    min(t.ts) AS ts,
    argMax(t.what, t.priority) AS what,
    argMax(t.source, t.priority) AS source,
    argMax(t.kind, t.priority) AS kind,
    argMax(t.host, t.priority) AS host,
    argMax(t.actor, t.priority) AS actor,
    argMax(t.relation, t.priority) AS relation,
    if(max(t.text) = '', max(t.fields), max(t.text)) AS text,
    argMax(t.attrs, t.priority) AS attrs,
    t.id AS id
FROM
(
    SELECT cluster, job_id, ts, 'event' AS what, toString(source) AS source, toString(kind) AS kind, toString(host) AS host, actor,
        '' AS relation, raw AS text, '' AS fields, CAST(attrs, 'Map(String, String)') AS attrs, event_id AS id, 0 AS priority
    FROM {database}.events
    WHERE job_id != ''
    UNION ALL
    SELECT cluster, job_id, ts, 'touch' AS what, toString(source) AS source, toString(kind) AS kind, toString(host) AS host, actor,
        toString(relation) AS relation, '' AS text,
        arrayStringConcat(arrayMap((name, value) -> concat(name, '=', value), mapKeys(attrs), mapValues(attrs)), ' ') AS fields,
        CAST(attrs, 'Map(String, String)') AS attrs, event_id AS id, 1 AS priority
    FROM {database}.enriched_current
    UNION ALL
    SELECT cluster, job_id, end_time AS ts, 'verdict' AS what, toString(by_source) AS source, toString(verdict) AS kind, '' AS host,
        '' AS actor, '' AS relation, concat(status, ': ', cause, if(by_summary = '', '', concat(', ', by_summary))) AS text, '' AS fields,
        CAST(map(), 'Map(String, String)') AS attrs, verdict_id AS id, 2 AS priority
    FROM {database}.verdicts_current
    UNION ALL
    SELECT cluster, job_id, effect_time AS ts, 'finding' AS what, '' AS source, toString(detector) AS kind, '' AS host, actor,
        '' AS relation, concat(status, ': ', summary) AS text, '' AS fields, CAST(map(), 'Map(String, String)') AS attrs, finding_id AS id,
        3 AS priority
    FROM {database}.findings_told
) AS t
GROUP BY t.cluster, t.job_id, t.id
ORDER BY cluster, job_id, ts, what, id
COMMENT 'All that is known of a job, in order: ask with WHERE job_id = ...';

ALTER TABLE {database}.job_timeline{on_cluster}
    COMMENT COLUMN cluster 'cluster',
    COMMENT COLUMN relation 'of actor to owner; of touches',
    COMMENT COLUMN text 'the line; of an event put together from several lines its fields; of verdicts and findings what is said',
    COMMENT COLUMN job_id 'raw job id, as the scheduler prints it',
    COMMENT COLUMN ts 'event time; of a verdict the end, of a finding the effect',
    COMMENT COLUMN what 'event, touch, verdict, finding',
    COMMENT COLUMN source 'source family; of a verdict that of the acquitting record',
    COMMENT COLUMN kind 'kind of event; the verdict; the detector',
    COMMENT COLUMN host 'host',
    COMMENT COLUMN actor 'identity that acted; of a finding as in findings_told',
    COMMENT COLUMN attrs 'fields of the event as text',
    COMMENT COLUMN id 'event id, verdict id or finding id';
