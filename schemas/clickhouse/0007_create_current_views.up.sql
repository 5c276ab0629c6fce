-- The newest version of every id, without FINAL.  argMax passes over NULL, which a newer version may hold: hence the tuples.
-- Filters on the grouping columns reach the tables' sort keys; a retracted finding is shown with its status.
CREATE VIEW IF NOT EXISTS {database}.enriched_current{on_cluster} AS
SELECT
    e.ts AS ts,
    e.cluster AS cluster,
    e.job_id AS job_id,
    argMax(e.attempt, e._version) AS attempt,
    e.enriched_id AS enriched_id,
    argMax(e.event_id, e._version) AS event_id,
    argMax(e.owner, e._version) AS owner,
    argMax(e.source, e._version) AS source,
    argMax(e.kind, e._version) AS kind,
    argMax(e.host, e._version) AS host,
    argMax(e.actor, e._version) AS actor,
    argMax(e.relation, e._version) AS relation,
    argMax(e.matched, e._version) AS matched,
    argMax(e.sha256, e._version) AS sha256,
    argMax(e.attrs, e._version) AS attrs,
    argMax(e.revision, e._version) AS revision,
    argMax(e.canonical, e._version) AS canonical,
    max(e._version) AS _version,
    argMax(e._topic, e._version) AS _topic,
    argMax(e._partition, e._version) AS _partition,
    argMax(e._offset, e._version) AS _offset,
    argMax(e._index, e._version) AS _index
FROM {database}.enriched_events AS e
GROUP BY e.ts, e.cluster, e.job_id, e.enriched_id;

CREATE VIEW IF NOT EXISTS {database}.verdicts_current{on_cluster} AS
SELECT
    argMax(v.end_time, v._version) AS end_time,
    v.cluster AS cluster,
    v.job_id AS job_id,
    argMax(v.attempt, v._version) AS attempt,
    argMax(v.submit_time, v._version) AS submit_time,
    tupleElement(argMax(tuple(v.start_time), v._version), 1) AS start_time,
    v.verdict_id AS verdict_id,
    argMax(v.owner, v._version) AS owner,
    tupleElement(argMax(tuple(v.owner_uid), v._version), 1) AS owner_uid,
    argMax(v.state, v._version) AS state,
    argMax(v.verdict, v._version) AS verdict,
    argMax(v.cause, v._version) AS cause,
    argMax(v.status, v._version) AS status,
    argMax(v.by_role, v._version) AS by_role,
    argMax(v.by_event_id, v._version) AS by_event_id,
    argMax(v.by_sha256, v._version) AS by_sha256,
    argMax(v.by_source, v._version) AS by_source,
    tupleElement(argMax(tuple(v.by_time), v._version), 1) AS by_time,
    argMax(v.by_summary, v._version) AS by_summary,
    argMax(v.findings, v._version) AS findings,
    argMax(v.checklist, v._version) AS checklist,
    argMax(v.nodes, v._version) AS nodes,
    tupleElement(argMax(tuple(v.gpus), v._version), 1) AS gpus,
    argMax(v.closes_at, v._version) AS closes_at,
    argMax(v.revision, v._version) AS revision,
    argMax(v.watermarks, v._version) AS watermarks,
    argMax(v.silent, v._version) AS silent,
    argMax(v.settings_digest, v._version) AS settings_digest,
    argMax(v.software, v._version) AS software,
    argMax(v.canonical, v._version) AS canonical,
    max(v._version) AS _version,
    argMax(v._topic, v._version) AS _topic,
    argMax(v._partition, v._version) AS _partition,
    argMax(v._offset, v._version) AS _offset,
    argMax(v._index, v._version) AS _index
FROM {database}.verdicts AS v
GROUP BY v.cluster, v.job_id, v.verdict_id;

CREATE VIEW IF NOT EXISTS {database}.findings_current{on_cluster} AS
SELECT
    argMax(f.effect_time, f._version) AS effect_time,
    argMax(f.cause_time, f._version) AS cause_time,
    f.cluster AS cluster,
    f.job_id AS job_id,
    argMax(f.attempt, f._version) AS attempt,
    argMax(f.submit_time, f._version) AS submit_time,
    tupleElement(argMax(tuple(f.start_time), f._version), 1) AS start_time,
    f.finding_id AS finding_id,
    argMax(f.detector, f._version) AS detector,
    argMax(f.detector_version, f._version) AS detector_version,
    argMax(f.title, f._version) AS title,
    argMax(f.severity, f._version) AS severity,
    argMax(f.status, f._version) AS status,
    argMax(f.effect, f._version) AS effect,
    argMax(f.anchor, f._version) AS anchor,
    argMax(f.owner, f._version) AS owner,
    argMax(f.actor, f._version) AS actor,
    argMax(f.actor_withheld, f._version) AS actor_withheld,
    argMax(f.summary, f._version) AS summary,
    argMax(f.confidence, f._version) AS confidence,
    argMax(f.confidence_parts, f._version) AS confidence_parts,
    argMax(f.alert, f._version) AS alert,
    argMax(f.gate, f._version) AS gate,
    argMax(f.attack, f._version) AS attack,
    argMax(f.sources, f._version) AS sources,
    argMax(f.checklist, f._version) AS checklist,
    argMax(f.closes_at, f._version) AS closes_at,
    argMax(f.revision, f._version) AS revision,
    argMax(f.watermarks, f._version) AS watermarks,
    argMax(f.silent, f._version) AS silent,
    argMax(f.settings_digest, f._version) AS settings_digest,
    argMax(f.software, f._version) AS software,
    argMax(f.canonical, f._version) AS canonical,
    max(f._version) AS _version,
    argMax(f._topic, f._version) AS _topic,
    argMax(f._partition, f._version) AS _partition,
    argMax(f._offset, f._version) AS _offset,
    argMax(f._index, f._version) AS _index
FROM {database}.findings AS f
GROUP BY f.cluster, f.job_id, f.finding_id;

CREATE VIEW IF NOT EXISTS {database}.finding_evidence_current{on_cluster} AS
SELECT
    e.finding_id AS finding_id,
    e.position AS position,
    e.role AS role,
    e.event_id AS event_id,
    e.sha256 AS sha256,
    e.source AS source,
    e.event_time AS event_time,
    e.summary AS summary
FROM {database}.finding_evidence AS e
WHERE (e.finding_id, e._version) IN
(
    SELECT f.finding_id, max(f._version)
    FROM {database}.findings AS f
    GROUP BY f.finding_id
)
ORDER BY e.finding_id, e.position
LIMIT 1 BY e.finding_id, e.position;
