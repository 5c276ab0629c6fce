-- Suspected interference, and the records it cites.  Read `findings_current` and `finding_evidence_current`.
CREATE TABLE IF NOT EXISTS {database}.findings{on_cluster}
(
    effect_time DateTime64(3, 'UTC'),
    cause_time DateTime64(3, 'UTC'),
    cluster LowCardinality(String),
    job_id String,
    attempt String COMMENT 'cluster/job/submit/start',
    submit_time DateTime64(3, 'UTC'),
    start_time Nullable(DateTime64(3, 'UTC')) COMMENT 'NULL: never started',
    finding_id String,
    detector LowCardinality(String) COMMENT 'e.g. p03_foreign_cancel',
    detector_version UInt32,
    title String,
    severity LowCardinality(String) COMMENT 'low, medium, high, critical',
    status LowCardinality(String) COMMENT 'provisional, final, retracted',
    effect LowCardinality(String) COMMENT 'kind of effect',
    anchor String COMMENT 'tells effects of one kind on one attempt apart, e.g. an artefact',
    owner String COMMENT 'identity of the job''s owner',
    actor String COMMENT 'identity; empty: naming is withheld',
    actor_withheld String COMMENT 'why no name',
    summary String,
    confidence Float64 COMMENT '0 to 1: the product of its parts',
    confidence_parts Map(String, Float64),
    alert Bool COMMENT 'above the gate',
    gate String COMMENT 'why not, when below',
    attack Array(LowCardinality(String)) COMMENT 'MITRE ATT&CK technique ids',
    sources Array(LowCardinality(String)) COMMENT 'families the detector needs',
    checklist Array(Tuple(name String, answer String, by String, note String, missing Array(String))),
    closes_at DateTime64(3, 'UTC') COMMENT 'event time after which it is final',
    revision UInt32,
    watermarks Map(String, Int64) COMMENT 'UTC ms passed per family, when it was judged',
    silent Array(String) COMMENT 'families never heard',
    settings_digest LowCardinality(String),
    software LowCardinality(String),
    canonical String COMMENT 'canonical body, JSON' CODEC(ZSTD(3)),
    _version UInt64,
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64,
    _index UInt16,
    _incarnation LowCardinality(String),
    _inserted DateTime('UTC') DEFAULT now(),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree(_version)
PARTITION BY toMonday(effect_time)
ORDER BY (cluster, job_id, finding_id)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;

-- Evidence of a superseded revision may remain where the newer one cites less: the view keeps that of the newest version only.
CREATE TABLE IF NOT EXISTS {database}.finding_evidence{on_cluster}
(
    finding_id String,
    position UInt16 COMMENT 'place in the finding''s canonical order',
    role LowCardinality(String) COMMENT 'effect, cause, owner, saved, written, loaded ...',
    event_id String,
    sha256 String COMMENT 'of the payload line, hex',
    source LowCardinality(String),
    event_time DateTime64(3, 'UTC'),
    summary String,
    _version UInt64,
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64,
    _index UInt16,
    _incarnation LowCardinality(String),
    _inserted DateTime('UTC') DEFAULT now(),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree(_version)
PARTITION BY toMonday(_inserted)
ORDER BY (finding_id, position)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;
