-- What people say of findings.  Rows are added and never changed; none is dropped by age, for a label is a testimony.
CREATE TABLE IF NOT EXISTS {database}.labels{on_cluster}
(
    finding_id String COMMENT 'findings.finding_id',
    at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was said, by the clock of the server',
    label_id UUID DEFAULT generateUUIDv4() COMMENT 'of the label',
    account String COMMENT 'who said it: account and machine',
    on_behalf_of String COMMENT 'for whom, as the account states; empty: himself',
    label LowCardinality(String) COMMENT 'true, false, benign',
    because LowCardinality(String) COMMENT 'of a benign one: the harmless explanation, by the name that detectors use',
    note String COMMENT 'in the words of who said it',
    detector LowCardinality(String) COMMENT 'e.g. p03_foreign_cancel',
    detector_version UInt32 COMMENT 'version of its judgement that was looked at',
    revision UInt32 COMMENT 'of the finding that was looked at',
    software LowCardinality(String) COMMENT 'release of trainwatch'
)
ENGINE = {replicated}MergeTree
ORDER BY (finding_id, at, label_id)
COMMENT 'What people say of findings; only ever added to. The newest of a finding counts: labels_current.';

CREATE OR REPLACE VIEW {database}.labels_current{on_cluster} AS
SELECT
    l.finding_id AS finding_id,
    max(l.at) AS labelled_at,
    argMax(l.account, (l.at, l.label_id)) AS account,
    argMax(l.on_behalf_of, (l.at, l.label_id)) AS on_behalf_of,
    argMax(l.label, (l.at, l.label_id)) AS label,
    argMax(l.because, (l.at, l.label_id)) AS because,
    argMax(l.note, (l.at, l.label_id)) AS note,
    argMax(l.detector, (l.at, l.label_id)) AS detector,
    argMax(l.detector_version, (l.at, l.label_id)) AS detector_version,
    argMax(l.revision, (l.at, l.label_id)) AS revision,
    count() AS labels
FROM {database}.labels AS l
GROUP BY l.finding_id;

-- Precision counts labelled findings alone: what nobody looked at says nothing of a detector.
CREATE OR REPLACE VIEW {database}.detector_quality{on_cluster} AS
SELECT
    f.detector AS detector,
    count() AS findings,
    countIf(f.alert) AS alerts,
    countIf(l.label != '') AS labelled,
    countIf(l.label = 'true') AS true_findings,
    countIf(l.label = 'false') AS false_findings,
    countIf(l.label = 'benign') AS benign_findings,
    if(labelled = 0, NULL, true_findings / labelled) AS precision
FROM {database}.findings_current AS f
LEFT JOIN {database}.labels_current AS l ON l.finding_id = f.finding_id
WHERE f.status != 'retracted'
GROUP BY f.detector;

ALTER TABLE {database}.labels_current{on_cluster} MODIFY COMMENT 'The newest label of each finding, and how many it has.';
ALTER TABLE {database}.detector_quality{on_cluster} MODIFY COMMENT 'Findings that stand, and what people said of them, per detector.';

-- What tables, views and columns mean, in the schema itself; REFERENCE.md is made of it.
ALTER TABLE {database}.events{on_cluster}
    MODIFY COMMENT 'One row per event, as received. Never replaced: no FINAL.',
    COMMENT COLUMN IF EXISTS cluster 'cluster',
    COMMENT COLUMN IF EXISTS host 'host that wrote the line, or of which it speaks',
    COMMENT COLUMN IF EXISTS _topic 'topic from which the row came',
    COMMENT COLUMN IF EXISTS _partition 'its partition',
    COMMENT COLUMN IF EXISTS _offset 'offset of the record',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it; retention counts from here',
    COMMENT COLUMN IF EXISTS attrs_json 'never stored: attributes on their way in';

ALTER TABLE {database}.enriched_events{on_cluster}
    MODIFY COMMENT 'Events that touch a job, with owner and relation; read enriched_current.',
    COMMENT COLUMN IF EXISTS cluster 'cluster',
    COMMENT COLUMN IF EXISTS job_id 'raw job id, as the scheduler prints it',
    COMMENT COLUMN IF EXISTS enriched_id 'event id and attempt, hashed',
    COMMENT COLUMN IF EXISTS event_id 'id of the event, the same on every replay; events.event_id',
    COMMENT COLUMN IF EXISTS source 'source family, e.g. auditd',
    COMMENT COLUMN IF EXISTS kind 'kind of event, e.g. signal_sent',
    COMMENT COLUMN IF EXISTS host 'host',
    COMMENT COLUMN IF EXISTS attrs 'fields of the event as text',
    COMMENT COLUMN IF EXISTS attrs_json 'never stored: attributes on their way in',
    COMMENT COLUMN IF EXISTS revision 'counts up with every word on this id',
    COMMENT COLUMN IF EXISTS _version '(claim epoch of the producing partition << 40) + offset: the greatest of an id counts',
    COMMENT COLUMN IF EXISTS _topic 'topic from which the row came',
    COMMENT COLUMN IF EXISTS _partition 'its partition',
    COMMENT COLUMN IF EXISTS _offset 'its offset',
    COMMENT COLUMN IF EXISTS _index 'number of the row among those of its record',
    COMMENT COLUMN IF EXISTS _incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it; retention counts from here';

ALTER TABLE {database}.verdicts{on_cluster}
    MODIFY COMMENT 'What is said of every ended attempt; read verdicts_current.',
    COMMENT COLUMN IF EXISTS cluster 'cluster',
    COMMENT COLUMN IF EXISTS job_id 'raw job id, as the scheduler prints it',
    COMMENT COLUMN IF EXISTS submit_time 'when it was submitted, as the scheduler says',
    COMMENT COLUMN IF EXISTS verdict_id 'the attempt, hashed',
    COMMENT COLUMN IF EXISTS owner 'identity of the job''s owner',
    COMMENT COLUMN IF EXISTS owner_uid 'numeric user id of the owner',
    COMMENT COLUMN IF EXISTS by_event_id 'its event id; events.event_id',
    COMMENT COLUMN IF EXISTS by_sha256 'of its line, hex',
    COMMENT COLUMN IF EXISTS by_source 'its source family',
    COMMENT COLUMN IF EXISTS by_time 'its event time',
    COMMENT COLUMN IF EXISTS by_summary 'one line for people',
    COMMENT COLUMN IF EXISTS checklist 'harmless explanations that were tested: confirmed, excluded or not_checked',
    COMMENT COLUMN IF EXISTS nodes 'hosts on which it ran',
    COMMENT COLUMN IF EXISTS gpus 'number of GPUs; NULL: nobody says',
    COMMENT COLUMN IF EXISTS revision 'counts up with every word on this id',
    COMMENT COLUMN IF EXISTS settings_digest 'names the settings that decoding and judging depend on',
    COMMENT COLUMN IF EXISTS software 'release of trainwatch',
    COMMENT COLUMN IF EXISTS _version '(claim epoch of the producing partition << 40) + offset: the greatest of an id counts',
    COMMENT COLUMN IF EXISTS _topic 'topic from which the row came',
    COMMENT COLUMN IF EXISTS _partition 'its partition',
    COMMENT COLUMN IF EXISTS _offset 'its offset',
    COMMENT COLUMN IF EXISTS _index 'number of the row among those of its record',
    COMMENT COLUMN IF EXISTS _incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it; retention counts from here';

ALTER TABLE {database}.findings{on_cluster}
    MODIFY COMMENT 'Suspected interference; read findings_current.',
    COMMENT COLUMN IF EXISTS effect_time 'when the effect showed',
    COMMENT COLUMN IF EXISTS cause_time 'when the cause happened',
    COMMENT COLUMN IF EXISTS cluster 'cluster',
    COMMENT COLUMN IF EXISTS job_id 'raw job id, as the scheduler prints it',
    COMMENT COLUMN IF EXISTS submit_time 'when it was submitted, as the scheduler says',
    COMMENT COLUMN IF EXISTS finding_id 'detector, subject, effect and anchor, hashed: the same on every replay',
    COMMENT COLUMN IF EXISTS detector_version 'version of its judgement',
    COMMENT COLUMN IF EXISTS title 'title of the detector',
    COMMENT COLUMN IF EXISTS summary 'one line for people',
    COMMENT COLUMN IF EXISTS confidence_parts 'name and factor of each part',
    COMMENT COLUMN IF EXISTS checklist 'harmless explanations that were tested: confirmed, excluded or not_checked',
    COMMENT COLUMN IF EXISTS revision 'counts up with every word on this id',
    COMMENT COLUMN IF EXISTS settings_digest 'names the settings that decoding and judging depend on',
    COMMENT COLUMN IF EXISTS software 'release of trainwatch',
    COMMENT COLUMN IF EXISTS _version '(claim epoch of the producing partition << 40) + offset: the greatest of an id counts',
    COMMENT COLUMN IF EXISTS _topic 'topic from which the row came',
    COMMENT COLUMN IF EXISTS _partition 'its partition',
    COMMENT COLUMN IF EXISTS _offset 'its offset',
    COMMENT COLUMN IF EXISTS _index 'number of the row among those of its record',
    COMMENT COLUMN IF EXISTS _incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it; retention counts from here';

ALTER TABLE {database}.finding_evidence{on_cluster}
    MODIFY COMMENT 'Records that findings cite; read finding_evidence_current.',
    COMMENT COLUMN IF EXISTS finding_id 'detector, subject, effect and anchor, hashed: the same on every replay',
    COMMENT COLUMN IF EXISTS event_id 'id of the event, the same on every replay; events.event_id',
    COMMENT COLUMN IF EXISTS source 'source family',
    COMMENT COLUMN IF EXISTS event_time 'event time of the record',
    COMMENT COLUMN IF EXISTS summary 'one line for people, from typed fields only',
    COMMENT COLUMN IF EXISTS _version '(claim epoch of the producing partition << 40) + offset: the greatest of an id counts',
    COMMENT COLUMN IF EXISTS _topic 'topic from which the row came',
    COMMENT COLUMN IF EXISTS _partition 'its partition',
    COMMENT COLUMN IF EXISTS _offset 'its offset',
    COMMENT COLUMN IF EXISTS _index 'number of the row among those of its record',
    COMMENT COLUMN IF EXISTS _incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it; retention counts from here';

ALTER TABLE {database}.sink_ranges{on_cluster}
    MODIFY COMMENT 'Offset ranges that were made durable; read with FINAL or DISTINCT.',
    COMMENT COLUMN IF EXISTS topic 'Kafka topic',
    COMMENT COLUMN IF EXISTS incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS partition 'its partition',
    COMMENT COLUMN IF EXISTS settings_digest 'names the settings that decoding and judging depend on',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it';

ALTER TABLE {database}.incidents{on_cluster}
    MODIFY COMMENT 'Findings of one cause; read incidents_current.',
    COMMENT COLUMN IF EXISTS first_time 'the earliest cause or effect',
    COMMENT COLUMN IF EXISTS last_time 'the latest effect',
    COMMENT COLUMN IF EXISTS cluster 'cluster',
    COMMENT COLUMN IF EXISTS incident_id 'cluster and founder, hashed',
    COMMENT COLUMN IF EXISTS title 'one line for people',
    COMMENT COLUMN IF EXISTS findings 'how many',
    COMMENT COLUMN IF EXISTS gap_needed 'the gap from which on somebody is named',
    COMMENT COLUMN IF EXISTS candidates 'how many were weighed',
    COMMENT COLUMN IF EXISTS unaffected 'examined, and nothing was found',
    COMMENT COLUMN IF EXISTS users 'owners of affected attempts',
    COMMENT COLUMN IF EXISTS projects 'their teams or accounts',
    COMMENT COLUMN IF EXISTS revision 'counts up with every word on this id',
    COMMENT COLUMN IF EXISTS silent 'families never heard',
    COMMENT COLUMN IF EXISTS settings_digest 'names the settings that decoding and judging depend on',
    COMMENT COLUMN IF EXISTS software 'release of trainwatch',
    COMMENT COLUMN IF EXISTS _version '(claim epoch of the producing partition << 40) + offset: the greatest of an id counts',
    COMMENT COLUMN IF EXISTS _topic 'topic from which the row came',
    COMMENT COLUMN IF EXISTS _partition 'its partition',
    COMMENT COLUMN IF EXISTS _offset 'its offset',
    COMMENT COLUMN IF EXISTS _index 'number of the row among those of its record',
    COMMENT COLUMN IF EXISTS _incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it; retention counts from here';

ALTER TABLE {database}.incident_findings{on_cluster}
    MODIFY COMMENT 'Which findings an incident has; read incident_findings_current.',
    COMMENT COLUMN IF EXISTS incident_id 'cluster and founder, hashed',
    COMMENT COLUMN IF EXISTS finding_id 'detector, subject, effect and anchor, hashed: the same on every replay',
    COMMENT COLUMN IF EXISTS detector 'e.g. p03_foreign_cancel',
    COMMENT COLUMN IF EXISTS effect_time 'when the effect showed',
    COMMENT COLUMN IF EXISTS alert 'above its gate',
    COMMENT COLUMN IF EXISTS _version '(claim epoch of the producing partition << 40) + offset: the greatest of an id counts',
    COMMENT COLUMN IF EXISTS _topic 'topic from which the row came',
    COMMENT COLUMN IF EXISTS _partition 'its partition',
    COMMENT COLUMN IF EXISTS _offset 'its offset',
    COMMENT COLUMN IF EXISTS _index 'number of the row among those of its record',
    COMMENT COLUMN IF EXISTS _incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it; retention counts from here';

ALTER TABLE {database}.attribution{on_cluster}
    MODIFY COMMENT 'Hypotheses about who, per incident; read attribution_current.',
    COMMENT COLUMN IF EXISTS incident_id 'cluster and founder, hashed',
    COMMENT COLUMN IF EXISTS high 'the same ratio, high',
    COMMENT COLUMN IF EXISTS _version '(claim epoch of the producing partition << 40) + offset: the greatest of an id counts',
    COMMENT COLUMN IF EXISTS _topic 'topic from which the row came',
    COMMENT COLUMN IF EXISTS _partition 'its partition',
    COMMENT COLUMN IF EXISTS _offset 'its offset',
    COMMENT COLUMN IF EXISTS _index 'number of the row among those of its record',
    COMMENT COLUMN IF EXISTS _incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it; retention counts from here';

ALTER TABLE {database}.incident_journal{on_cluster}
    MODIFY COMMENT 'What people did with an incident; only ever added to.',
    COMMENT COLUMN IF EXISTS incident_id 'cluster and founder, hashed',
    COMMENT COLUMN IF EXISTS at 'when',
    COMMENT COLUMN IF EXISTS entry_id 'of the entry',
    COMMENT COLUMN IF EXISTS text 'in the words of who wrote it';

ALTER TABLE {database}.evidence_roots{on_cluster}
    MODIFY COMMENT 'Signed Merkle roots of input ranges; two heads over one range are a fork.',
    COMMENT COLUMN IF EXISTS topic 'Kafka topic',
    COMMENT COLUMN IF EXISTS incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS partition 'its partition',
    COMMENT COLUMN IF EXISTS records 'how many it holds',
    COMMENT COLUMN IF EXISTS settings_digest 'names the settings that decoding and judging depend on',
    COMMENT COLUMN IF EXISTS identities_digest 'names the identity map',
    COMMENT COLUMN IF EXISTS software 'release of trainwatch',
    COMMENT COLUMN IF EXISTS _inserted 'when the server stored it';

ALTER TABLE {database}.events_held{on_cluster}
    MODIFY COMMENT 'Copies of events on hold; no retention.';

ALTER TABLE {database}.evidence_roots_held{on_cluster}
    MODIFY COMMENT 'Copies of the roots that prove what is on hold; no retention.';

ALTER TABLE {database}.records_held{on_cluster}
    MODIFY COMMENT 'Whole records from Kafka that are on hold; no retention.',
    COMMENT COLUMN IF EXISTS topic 'Kafka topic',
    COMMENT COLUMN IF EXISTS incarnation 'of the topic: a recreated topic counts offsets from 0 again',
    COMMENT COLUMN IF EXISTS partition 'its partition',
    COMMENT COLUMN IF EXISTS offset 'its offset';

ALTER TABLE {database}.custody_log{on_cluster}
    MODIFY COMMENT 'Who looked at, took out or held which evidence, and when; only ever added to.',
    COMMENT COLUMN IF EXISTS software 'release of trainwatch';

ALTER TABLE {database}.migrations{on_cluster}
    MODIFY COMMENT 'What was done to this database; the newest row of a number counts.',
    COMMENT COLUMN IF EXISTS number 'of the migration',
    COMMENT COLUMN IF EXISTS name 'its name',
    COMMENT COLUMN IF EXISTS step 'when';

ALTER TABLE {database}.enriched_current{on_cluster} MODIFY COMMENT 'The newest version of each enriched event.';
ALTER TABLE {database}.verdicts_current{on_cluster} MODIFY COMMENT 'The newest version of each verdict.';
ALTER TABLE {database}.findings_current{on_cluster} MODIFY COMMENT 'The newest version of each finding; a retracted one is shown with its status.';
ALTER TABLE {database}.finding_evidence_current{on_cluster} MODIFY COMMENT 'Records that the newest version of each finding cites.';
ALTER TABLE {database}.job_timeline{on_cluster} MODIFY COMMENT 'All that is known of a job, in order: ask with WHERE job_id = ...';
ALTER TABLE {database}.coverage{on_cluster} MODIFY COMMENT 'What was heard per source and hour; an hour without a row was silent.';
ALTER TABLE {database}.incidents_current{on_cluster} MODIFY COMMENT 'The newest version of each incident; a merged one says into which.';
ALTER TABLE {database}.incident_findings_current{on_cluster} MODIFY COMMENT 'Findings of the newest version of each incident.';
ALTER TABLE {database}.attribution_current{on_cluster} MODIFY COMMENT 'Hypotheses of the newest version of each incident; position 0 leads.';
ALTER TABLE {database}.coverage{on_cluster}
    COMMENT COLUMN cluster 'cluster',
    COMMENT COLUMN late 'came behind the watermark',
    COMMENT COLUMN future 'ahead of their own collection',
    COMMENT COLUMN source 'source family, e.g. auditd',
    COMMENT COLUMN hour 'beginning of the hour, event time',
    COMMENT COLUMN events 'rows, copies included',
    COMMENT COLUMN events_distinct 'different events',
    COMMENT COLUMN duplicates 'copies too many',
    COMMENT COLUMN hosts 'hosts heard, about',
    COMMENT COLUMN ts_max 'the latest event time';
ALTER TABLE {database}.job_timeline{on_cluster}
    COMMENT COLUMN cluster 'cluster',
    COMMENT COLUMN relation 'of actor to owner; of touches',
    COMMENT COLUMN text 'the line; of verdicts and findings what is said',
    COMMENT COLUMN job_id 'raw job id, as the scheduler prints it',
    COMMENT COLUMN ts 'event time; of a verdict the end, of a finding the effect',
    COMMENT COLUMN what 'event, touch, verdict, finding',
    COMMENT COLUMN source 'source family; of a verdict that of the acquitting record',
    COMMENT COLUMN kind 'kind of event; the verdict; the detector',
    COMMENT COLUMN host 'host',
    COMMENT COLUMN actor 'identity that acted',
    COMMENT COLUMN attrs 'fields of the event as text',
    COMMENT COLUMN id 'event id, verdict id or finding id';
ALTER TABLE {database}.labels_current{on_cluster}
    COMMENT COLUMN labelled_at 'when the newest was said',
    COMMENT COLUMN labels 'how many labels it has';
ALTER TABLE {database}.detector_quality{on_cluster}
    COMMENT COLUMN detector 'e.g. p03_foreign_cancel',
    COMMENT COLUMN findings 'that stand',
    COMMENT COLUMN alerts 'of them above the gate',
    COMMENT COLUMN labelled 'of them that somebody labelled',
    COMMENT COLUMN true_findings 'labelled true',
    COMMENT COLUMN false_findings 'labelled false',
    COMMENT COLUMN benign_findings 'labelled benign',
    COMMENT COLUMN precision 'true ones among the labelled; NULL: nobody said anything';
