-- Accounts of trainwatch in ClickHouse: who may do what, and nothing else.  For whoever runs ClickHouse; run it once, as an account with
-- access management, after the first `trainwatch migrate` (or before: no statement needs the tables).  Running it again changes nothing.
-- Append `ON CLUSTER <name>` to CREATE and GRANT where accounts are not replicated.  The database is `trainwatch`; change it here if
-- clickhouse.database says otherwise.
--
--     trainwatch_owner         makes and alters tables: `trainwatch migrate`
--     trainwatch_writer        the workers: adds rows, and looks only whether they have landed
--     trainwatch_dashboards    Grafana for who investigates: all that there is, log lines and names too, and what the server does
--     trainwatch_reader        notebooks, consumers, Grafana for who runs the pipeline: all but log lines as received, and who is suspected
--     trainwatch_reader_main   the same of one cluster, for a site with several
--     trainwatch_investigator  all that there is; labels, journal, custody and holds, nothing else, are written; people, and the nightly check
--     trainwatch_privacy       erases lines on request: `trainwatch evidence erase`
--
-- What was tried: each statement is parsed, and grants, row policies, settings profiles and quotas are in force on a real ClickHouse 26.7, where
-- each role does its own work and is refused the rest (tests/integration/test_roles.py), written there as users.xml, since the embedded server
-- has no place to keep accounts.  As SQL, CREATE USER, ROLE, QUOTA and SETTINGS PROFILE, and ON CLUSTER, are parsed only: not verified here.

-- --- roles ------------------------------------------------------------------------------------------------------------------------

CREATE ROLE IF NOT EXISTS trainwatch_owner, trainwatch_writer, trainwatch_dashboards, trainwatch_reader, trainwatch_reader_main, trainwatch_investigator, trainwatch_privacy;

-- The owner may do everything within the database and nothing outside it (replacing a view takes INSERT, making one takes SELECT): run
-- `trainwatch migrate` with it, from a machine of the platform team, and give it to no service.
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, ALTER TABLE, ALTER VIEW, INSERT, SELECT, SHOW ON trainwatch.* TO trainwatch_owner;
GRANT TABLE ENGINE ON MergeTree TO trainwatch_owner;
GRANT TABLE ENGINE ON ReplacingMergeTree TO trainwatch_owner;
GRANT TABLE ENGINE ON ReplicatedMergeTree TO trainwatch_owner;
GRANT TABLE ENGINE ON ReplicatedReplacingMergeTree TO trainwatch_owner;

-- A worker that is taken over can add rows, which verify and the chain of evidence show; it can neither read lines nor remove any.
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.events TO trainwatch_writer;
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.enriched_events TO trainwatch_writer;
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.verdicts TO trainwatch_writer;
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.findings TO trainwatch_writer;
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.finding_evidence TO trainwatch_writer;
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.incidents TO trainwatch_writer;
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.incident_findings TO trainwatch_writer;
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.attribution TO trainwatch_writer;
GRANT INSERT, SELECT(_topic, _partition, _offset, _incarnation) ON trainwatch.loss_lines TO trainwatch_writer;
GRANT INSERT, SELECT(topic, incarnation, partition, lo, hi) ON trainwatch.sink_ranges TO trainwatch_writer;
GRANT INSERT, SELECT(topic, incarnation, partition, lo, hi, root) ON trainwatch.evidence_roots TO trainwatch_writer;
GRANT INSERT ON trainwatch.standings TO trainwatch_writer;
GRANT INSERT ON trainwatch.unreadable_sources TO trainwatch_writer;
GRANT SELECT ON trainwatch.migrations TO trainwatch_writer;

-- Views ask with the rights of who reads them, so the columns behind them are granted.  Left out: raw and attrs of lines, canonical bodies,
-- which quote them, attribution, held records, journal.
GRANT SELECT(ts, collected_time, kafka_time, cluster, source, kind, host, job_id, actor, event_id, sha256, late, future, truncated, program, _topic, _partition, _offset, _index, _incarnation, _inserted) ON trainwatch.events TO trainwatch_reader;
GRANT SELECT(ts, cluster, job_id, attempt, enriched_id, event_id, owner, source, kind, host, actor, relation, matched, sha256, revision, _version, _topic, _partition, _offset, _index, _incarnation, _inserted) ON trainwatch.enriched_events TO trainwatch_reader;
GRANT SELECT(end_time, cluster, job_id, attempt, submit_time, start_time, verdict_id, owner, owner_uid, state, verdict, cause, status, by_role, by_event_id, by_sha256, by_source, by_time, findings, nodes, gpus, closes_at, revision, watermarks, silent, settings_digest, software, _version, _topic, _partition, _offset, _index, _incarnation, _inserted) ON trainwatch.verdicts TO trainwatch_reader;
GRANT SELECT(effect_time, cause_time, subject, subject_name, cluster, job_id, attempt, submit_time, start_time, finding_id, detector, detector_version, title, severity, status, effect, anchor, owner, confidence, confidence_parts, alert, gate, attack, sources, closes_at, revision, watermarks, silent, settings_digest, software, _version, _topic, _partition, _offset, _index, _incarnation, _inserted) ON trainwatch.findings TO trainwatch_reader;
GRANT SELECT(first_time, last_time, cluster, incident_id, founder, aliases, merged_into, title, severity, status, alert, findings, withheld, attempts, exposed, examined, unaffected, gpus_max, closes_at, revision, watermarks, silent, settings_digest, software, _version, _topic, _partition, _offset, _index, _incarnation, _inserted) ON trainwatch.incidents TO trainwatch_reader;
GRANT SELECT ON trainwatch.incident_findings TO trainwatch_reader;
GRANT SELECT ON trainwatch.loss_lines TO trainwatch_reader;
GRANT SELECT ON trainwatch.sink_ranges TO trainwatch_reader;
GRANT SELECT ON trainwatch.standings TO trainwatch_reader;
GRANT SELECT ON trainwatch.unreadable_sources TO trainwatch_reader;
GRANT SELECT ON trainwatch.migrations TO trainwatch_reader;
GRANT SELECT(ts, cluster, job_id, attempt, enriched_id, event_id, owner, source, kind, host, actor, relation, matched, sha256, revision) ON trainwatch.enriched_current TO trainwatch_reader;
GRANT SELECT(end_time, cluster, job_id, attempt, submit_time, start_time, verdict_id, owner, owner_uid, state, verdict, cause, status, by_role, by_event_id, by_sha256, by_source, by_time, findings, nodes, gpus, closes_at, revision, watermarks, silent) ON trainwatch.verdicts_current TO trainwatch_reader;
GRANT SELECT(effect_time, cause_time, subject, subject_name, cluster, job_id, attempt, submit_time, start_time, finding_id, detector, detector_version, title, severity, status, effect, anchor, owner, confidence, confidence_parts, alert, gate, attack, sources, closes_at, revision, watermarks, silent) ON trainwatch.findings_current TO trainwatch_reader;
GRANT SELECT(first_time, last_time, cluster, incident_id, founder, aliases, merged_into, title, severity, status, alert, findings, withheld, attempts, exposed, examined, unaffected, gpus_max, closes_at, revision, watermarks, silent) ON trainwatch.incidents_current TO trainwatch_reader;
GRANT SELECT ON trainwatch.incident_findings_current TO trainwatch_reader;
GRANT SELECT ON trainwatch.loss_lines_current TO trainwatch_reader;
GRANT SELECT ON trainwatch.losses_once TO trainwatch_reader;
GRANT SELECT ON trainwatch.range_accounts TO trainwatch_reader;
GRANT SELECT ON trainwatch.coverage TO trainwatch_reader;
GRANT SELECT ON trainwatch.coverage_by_host TO trainwatch_reader;
GRANT SELECT ON trainwatch.coverage_by_topic TO trainwatch_reader;
GRANT SELECT ON trainwatch.coverage_gaps TO trainwatch_reader;
GRANT SELECT ON trainwatch.traffic TO trainwatch_reader;
GRANT SELECT ON trainwatch.detection_times TO trainwatch_reader;

-- One cluster alone: only tables that say of which cluster a row is.
GRANT SELECT(ts, collected_time, kafka_time, cluster, source, kind, host, job_id, actor, event_id, sha256, late, future, truncated, program) ON trainwatch.events TO trainwatch_reader_main;
GRANT SELECT(end_time, cluster, job_id, attempt, submit_time, start_time, verdict_id, owner, state, verdict, cause, status, findings, nodes, gpus, closes_at, revision, _version) ON trainwatch.verdicts TO trainwatch_reader_main;
GRANT SELECT(effect_time, cause_time, subject, subject_name, cluster, job_id, attempt, finding_id, detector, title, severity, status, effect, owner, confidence, alert, gate, closes_at, revision, _version) ON trainwatch.findings TO trainwatch_reader_main;
GRANT SELECT(end_time, cluster, job_id, attempt, submit_time, start_time, verdict_id, owner, state, verdict, cause, status, findings, nodes, gpus, closes_at, revision) ON trainwatch.verdicts_current TO trainwatch_reader_main;
GRANT SELECT(effect_time, cause_time, subject, subject_name, cluster, job_id, attempt, finding_id, detector, title, severity, status, effect, owner, confidence, alert, gate, closes_at, revision) ON trainwatch.findings_current TO trainwatch_reader_main;
GRANT SELECT ON trainwatch.coverage TO trainwatch_reader_main;
GRANT SELECT ON trainwatch.traffic TO trainwatch_reader_main;
GRANT SELECT ON trainwatch.migrations TO trainwatch_reader_main;

-- Dashboards of the folder `trainwatch investigation` show lines as received and who is named: whoever may ask their data source sees all of
-- it, whatever panels show (deploy/grafana/permissions.py).
GRANT SELECT ON trainwatch.* TO trainwatch_dashboards;

GRANT SELECT ON trainwatch.* TO trainwatch_investigator;
GRANT INSERT ON trainwatch.labels TO trainwatch_investigator;
GRANT INSERT ON trainwatch.incident_journal TO trainwatch_investigator;
GRANT INSERT ON trainwatch.custody_log TO trainwatch_investigator;
GRANT INSERT, ALTER DELETE ON trainwatch.events_held TO trainwatch_investigator;
GRANT INSERT, ALTER DELETE ON trainwatch.records_held TO trainwatch_investigator;
GRANT INSERT, ALTER DELETE ON trainwatch.evidence_roots_held TO trainwatch_investigator;

GRANT SELECT ON trainwatch.* TO trainwatch_privacy;
GRANT ALTER UPDATE(raw, attrs, actor, file) ON trainwatch.events TO trainwatch_privacy;
GRANT ALTER DELETE ON trainwatch.enriched_events TO trainwatch_privacy;
GRANT INSERT ON trainwatch.erasures TO trainwatch_privacy;
GRANT INSERT ON trainwatch.custody_log TO trainwatch_privacy;

-- Health boards, alerts and `trainwatch check` look at these; rows are of tables that the account sees anyway.  What others ask, and by it
-- names and lines, is for the dashboards of investigators alone.
GRANT SELECT ON system.parts TO trainwatch_dashboards, trainwatch_reader, trainwatch_investigator;
GRANT SELECT ON system.merges TO trainwatch_dashboards, trainwatch_reader, trainwatch_investigator;
GRANT SELECT ON system.disks TO trainwatch_dashboards, trainwatch_reader, trainwatch_investigator;
GRANT SELECT ON system.events TO trainwatch_dashboards, trainwatch_reader, trainwatch_investigator;
GRANT SELECT ON system.errors TO trainwatch_dashboards, trainwatch_reader, trainwatch_investigator;
GRANT SELECT ON system.merge_tree_settings TO trainwatch_dashboards, trainwatch_reader, trainwatch_investigator;
GRANT SELECT ON system.processes TO trainwatch_dashboards;
GRANT SELECT ON system.query_log TO trainwatch_dashboards;

-- --- rows -------------------------------------------------------------------------------------------------------------------------
-- Only by `cluster`, which never changes for an id: a condition on what does change, say `alert`, would hide the newest word of a finding
-- and show an older one in its place.  A table with a policy shows no rows to whom no policy names (users_without_row_policies_can_read_rows),
-- hence the second of each pair.

CREATE ROW POLICY IF NOT EXISTS trainwatch_main ON trainwatch.events FOR SELECT USING cluster = 'main' TO trainwatch_reader_main;
CREATE ROW POLICY IF NOT EXISTS trainwatch_rest ON trainwatch.events FOR SELECT USING 1 TO ALL EXCEPT trainwatch_reader_main;
CREATE ROW POLICY IF NOT EXISTS trainwatch_main ON trainwatch.verdicts FOR SELECT USING cluster = 'main' TO trainwatch_reader_main;
CREATE ROW POLICY IF NOT EXISTS trainwatch_rest ON trainwatch.verdicts FOR SELECT USING 1 TO ALL EXCEPT trainwatch_reader_main;
CREATE ROW POLICY IF NOT EXISTS trainwatch_main ON trainwatch.findings FOR SELECT USING cluster = 'main' TO trainwatch_reader_main;
CREATE ROW POLICY IF NOT EXISTS trainwatch_rest ON trainwatch.findings FOR SELECT USING 1 TO ALL EXCEPT trainwatch_reader_main;

-- --- how much ---------------------------------------------------------------------------------------------------------------------
-- A dashboard or a notebook must not hold up inserts: one query of theirs ends after a minute and takes 4 GB at most.  Grafana sets
-- max_execution_time itself, hence CHANGEABLE_IN_READONLY, and readonly = 2, which lets settings be sent.  A board of 16 panels that renews
-- itself every minute asks 960 times an hour, and alerts 420.

CREATE SETTINGS PROFILE IF NOT EXISTS trainwatch_reading SETTINGS readonly = 1, max_execution_time = 60 MAX 300 CHANGEABLE_IN_READONLY, max_memory_usage = 4000000000, max_threads = 4 TO trainwatch_reader, trainwatch_reader_main;
CREATE SETTINGS PROFILE IF NOT EXISTS trainwatch_showing SETTINGS readonly = 2, max_execution_time = 60 MAX 300, max_memory_usage = 4000000000 MAX 4000000000, max_threads = 4 MAX 4 TO trainwatch_dashboards;
CREATE SETTINGS PROFILE IF NOT EXISTS trainwatch_investigating SETTINGS max_execution_time = 600, max_memory_usage = 8000000000 TO trainwatch_investigator;
CREATE QUOTA IF NOT EXISTS trainwatch_notebook KEYED BY user_name FOR INTERVAL 1 hour MAX queries = 6000, execution_time = 1800, read_rows = 20000000000 TO trainwatch_reader, trainwatch_reader_main, trainwatch_investigator;

-- --- users ------------------------------------------------------------------------------------------------------------------------
-- Nobody can log in as they stand, since no password has the hash of zeros.  Let each account in with a hash of its own, made where the
-- password lives, so that no password is in a file like this one or in a log of queries:
--     printf %s "$(cat /run/secrets/clickhouse)" | sha256sum
--     ALTER USER trainwatch_worker IDENTIFIED WITH sha256_hash BY '<the hash>';
-- and give trainwatch the file: clickhouse.password_file.  HOST narrows where an account may come from.  People log in by name, so that
-- journal, labels and custody are of somebody: one user each, with the role trainwatch_investigator.

CREATE USER IF NOT EXISTS trainwatch_migrate IDENTIFIED WITH sha256_hash BY '0000000000000000000000000000000000000000000000000000000000000000' HOST ANY;
CREATE USER IF NOT EXISTS trainwatch_worker IDENTIFIED WITH sha256_hash BY '0000000000000000000000000000000000000000000000000000000000000000' HOST ANY;
CREATE USER IF NOT EXISTS trainwatch_evidence IDENTIFIED WITH sha256_hash BY '0000000000000000000000000000000000000000000000000000000000000000' HOST ANY;
CREATE USER IF NOT EXISTS trainwatch_grafana IDENTIFIED WITH sha256_hash BY '0000000000000000000000000000000000000000000000000000000000000000' HOST ANY;
CREATE USER IF NOT EXISTS trainwatch_grafana_pipeline IDENTIFIED WITH sha256_hash BY '0000000000000000000000000000000000000000000000000000000000000000' HOST ANY;
CREATE USER IF NOT EXISTS trainwatch_notebook IDENTIFIED WITH sha256_hash BY '0000000000000000000000000000000000000000000000000000000000000000' HOST ANY;
GRANT trainwatch_owner TO trainwatch_migrate;
GRANT trainwatch_writer TO trainwatch_worker;
GRANT trainwatch_investigator TO trainwatch_evidence;
GRANT trainwatch_dashboards TO trainwatch_grafana;
GRANT trainwatch_reader TO trainwatch_grafana_pipeline, trainwatch_notebook;
