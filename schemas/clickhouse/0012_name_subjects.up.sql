-- Findings are about hosts, artefacts, identities and cohorts too: the subject has columns of its own, and those of the job stay empty.
ALTER TABLE {database}.findings{on_cluster}
    ADD COLUMN IF NOT EXISTS subject LowCardinality(String) DEFAULT 'job' COMMENT 'job, host, artefact, identity, cohort' AFTER cause_time,
    ADD COLUMN IF NOT EXISTS subject_name String DEFAULT job_id COMMENT 'raw job id, host, path, identity, what the cohort has in common' AFTER subject;

CREATE OR REPLACE VIEW {database}.findings_current{on_cluster} AS
SELECT
    argMax(f.effect_time, f._version) AS effect_time,
    argMax(f.cause_time, f._version) AS cause_time,
    argMax(f.subject, f._version) AS subject,
    argMax(f.subject_name, f._version) AS subject_name,
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
