-- Findings of one cause, what ties them, and hypotheses about who.  Read the views `*_current`; a merged incident says into which.
CREATE TABLE IF NOT EXISTS {database}.incidents{on_cluster}
(
    first_time DateTime64(3, 'UTC'),
    last_time DateTime64(3, 'UTC'),
    cluster LowCardinality(String),
    incident_id String,
    founder String COMMENT 'finding id of its earliest member',
    aliases Array(String) COMMENT 'incident ids under which it may have been known',
    merged_into String COMMENT 'of a retracted one: the incident that has its findings',
    title String,
    severity LowCardinality(String) COMMENT 'low, medium, high, critical',
    status LowCardinality(String) COMMENT 'provisional, final, retracted',
    alert Bool COMMENT 'a finding of it is above its gate',
    findings UInt32,
    named String COMMENT 'identity of the leading candidate; empty: naming is withheld',
    withheld String COMMENT 'why no name',
    leader String COMMENT 'leading hypothesis: kind/who',
    second String COMMENT 'the one that comes nearest',
    gap_low Nullable(Float64) COMMENT 'decimal logarithm of the ratio between the two, low',
    gap_needed Float64,
    candidates UInt32,
    attempts UInt32 COMMENT 'affected, as listed',
    exposed UInt32 COMMENT 'loaded suspect artefacts without a finding of their own',
    examined UInt32 COMMENT 'ended in the window',
    unaffected UInt32,
    users Array(String),
    projects Array(String),
    gpus_max UInt32 COMMENT 'of the largest affected attempt',
    closes_at DateTime64(3, 'UTC') COMMENT 'event time after which it is final',
    revision UInt32,
    watermarks Map(String, Int64) COMMENT 'UTC ms passed per family, when it was built',
    silent Array(String),
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
PARTITION BY toMonday(_inserted)
ORDER BY (cluster, incident_id)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {database}.incident_findings{on_cluster}
(
    incident_id String,
    position UInt16 COMMENT 'place in time',
    finding_id String,
    detector LowCardinality(String),
    effect_time DateTime64(3, 'UTC'),
    alert Bool,
    links Array(LowCardinality(String)) COMMENT 'what ties it to the others',
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
ORDER BY (incident_id, position)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {database}.attribution{on_cluster}
(
    incident_id String,
    position UInt16 COMMENT '0: the leading hypothesis',
    kind LowCardinality(String) COMMENT 'did, borrowed, nobody, other',
    who String COMMENT 'label, or identity where it is named',
    low Float64 COMMENT 'decimal logarithm of the likelihood ratio, low',
    high Float64,
    evidence Array(LowCardinality(String)) COMMENT 'kinds of evidence that were weighed',
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
ORDER BY (incident_id, position)
TTL _inserted + toIntervalDay({retention_days})
SETTINGS {deduplication_window}, ttl_only_drop_parts = 1;

-- What people did with an incident: only ever added to, by the command line, and kept for good.
CREATE TABLE IF NOT EXISTS {database}.incident_journal{on_cluster}
(
    incident_id String,
    at DateTime64(3, 'UTC') DEFAULT now64(3),
    entry_id UUID DEFAULT generateUUIDv4(),
    operator String COMMENT 'who wrote it: the system user, with what the person states of himself',
    action LowCardinality(String) COMMENT 'status, assign, note, reply',
    value String COMMENT 'new status, assignee, or who replied',
    text String
)
ENGINE = {replicated}MergeTree
ORDER BY (incident_id, at, entry_id);

CREATE VIEW IF NOT EXISTS {database}.incidents_current{on_cluster} AS
SELECT * EXCEPT (_incarnation, _inserted)
FROM {database}.incidents AS i
WHERE (i.incident_id, i._version) IN
(
    SELECT v.incident_id, max(v._version)
    FROM {database}.incidents AS v
    GROUP BY v.incident_id
)
ORDER BY i.cluster, i.incident_id
LIMIT 1 BY i.cluster, i.incident_id;

CREATE VIEW IF NOT EXISTS {database}.incident_findings_current{on_cluster} AS
SELECT
    m.incident_id AS incident_id,
    m.position AS position,
    m.finding_id AS finding_id,
    m.detector AS detector,
    m.effect_time AS effect_time,
    m.alert AS alert,
    m.links AS links
FROM {database}.incident_findings AS m
WHERE (m.incident_id, m._version) IN
(
    SELECT v.incident_id, max(v._version)
    FROM {database}.incidents AS v
    GROUP BY v.incident_id
)
ORDER BY m.incident_id, m.position
LIMIT 1 BY m.incident_id, m.position;

CREATE VIEW IF NOT EXISTS {database}.attribution_current{on_cluster} AS
SELECT
    a.incident_id AS incident_id,
    a.position AS position,
    a.kind AS kind,
    a.who AS who,
    a.low AS low,
    a.high AS high,
    a.evidence AS evidence
FROM {database}.attribution AS a
WHERE (a.incident_id, a._version) IN
(
    SELECT v.incident_id, max(v._version)
    FROM {database}.incidents AS v
    GROUP BY v.incident_id
)
ORDER BY a.incident_id, a.position
LIMIT 1 BY a.incident_id, a.position;
