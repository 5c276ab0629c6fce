-- Questions that investigators ask, each ready to be pasted into ClickHouse (the web page /play, clickhouse-client, Grafana).
--
-- Change what stands behind WITH, which now asks of what `trainwatch demo` leaves.  The database is `trainwatch` unless clickhouse.database
-- says otherwise.  All times are UTC.
-- Join keys, the same in every table:
--     job_id (with cluster)   raw job id, as the scheduler prints it      attempt       one run of it: cluster/job/submit/start
--     event_id                one event, the same on every replay         sha256        of its line, hex
--     actor, owner            identity id, as valid at the time           host          host name
--     finding_id, incident_id                                             ts            event time
-- `FINAL` is not needed: `events` never replaces a row, and the views *_current show the newest word of each id.  Only `sink_ranges`,
-- which may hold a range twice until parts are merged, is read with FINAL; it has one row per checkpoint and partition.
-- Who acted in a finding is asked of `findings_told`: a name stands there only where an incident that lists the finding names that person.
-- `findings_current.actor` is the account that its records name, whoever used it.
-- Cost says what is read: "key" goes by the sort key to a few granules, "filter" by a bloom filter to a few more, "period" reads the
-- weeks that the times touch (only the columns named), "small" reads a table that stays small.
-- "rows: yes" marks questions that have an answer in any cluster with findings; the others may rightly be empty.

-- 1. Why did my job end?
-- why: the verdict names the cause, the record that proves it, and the findings under which it falls.
-- cost: key (verdicts: cluster, job_id).   rows: yes
WITH '48344' AS the_job
SELECT attempt, owner, state, verdict, cause, status, by_source, by_time, by_summary, findings, end_time
FROM trainwatch.verdicts_current
WHERE job_id = the_job AND status != 'retracted'
ORDER BY end_time;

-- 2. What happened to this job, in order?
-- why: its own lines, what others did to it, verdicts and findings on one axis.
-- cost: filter (events by job_id), key (the others).   rows: yes
WITH '48344' AS the_job
SELECT ts, what, source, kind, host, actor, relation, text
FROM trainwatch.job_timeline
WHERE job_id = the_job
ORDER BY ts, what
LIMIT 500;

-- 3. What else did this person touch that belongs to somebody else?
-- why: one act is an accident, several are a pattern; `team` and `admin` are the harmless relations.
-- cost: period (enriched_events).  No FINAL: the newest version of each id is taken by LIMIT 1 BY.   rows: yes
WITH 'u004' AS the_actor, toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT ts, job_id, owner, relation, matched, source, kind, host, attrs
FROM
(
    SELECT *
    FROM trainwatch.enriched_events
    WHERE actor = the_actor AND owner != the_actor AND ts >= since
    ORDER BY _version DESC
    LIMIT 1 BY enriched_id
)
ORDER BY ts
LIMIT 500;

-- 4. Which jobs loaded this file since then?
-- why: who has to be told when a checkpoint, module or shard proves to be altered; compare sha256 with what was saved.
-- cost: period (events of the probe).   rows: yes
WITH '/lustre/ckpt/u005/run3/iter_0001840.pt' AS the_path, toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT e.ts AS ts, e.job_id AS job_id, e.actor AS actor, e.host AS host, e.kind AS kind, e.attrs['sha256'] AS loaded_sha256,
    v.verdict AS verdict, v.cause AS cause
FROM trainwatch.events AS e
LEFT JOIN (SELECT cluster, job_id, verdict, cause FROM trainwatch.verdicts_current WHERE status != 'retracted') AS v ON v.cluster = e.cluster AND v.job_id = e.job_id
WHERE e.source = 'probe' AND e.kind IN ('checkpoint_loaded', 'module_imported', 'hook_found') AND e.attrs['path'] = the_path
    AND e.ts >= since
ORDER BY ts;

-- 5. What became of this file: saved, written, loaded, with the hash at each point?
-- why: the first hash that differs from the saved one stands behind the write that changed it.
-- cost: period (events of probe and auditd).   rows: yes
WITH '/lustre/ckpt/u005/run3/iter_0001840.pt' AS the_path, toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT ts, source, kind, host, actor, job_id, attrs['sha256'] AS file_sha256, attrs['size_bytes'] AS size_bytes, event_id
FROM trainwatch.events
WHERE ts >= since
    AND ((source = 'probe' AND attrs['path'] = the_path)
        OR (source = 'auditd' AND attrs['record_type'] = 'PATH' AND attrs['name'] = the_path))
ORDER BY ts;

-- 6. Who wrote below this folder?
-- why: PATH records name files and no person; the SYSCALL record of the same serial, host and moment names who.
-- cost: period (events of auditd), joined within the period.   rows: yes
WITH '/lustre/ckpt/u005/' AS the_folder, toDateTime('2026-03-02 00:00:00', 'UTC') AS since,
    toDateTime('2026-03-03 00:00:00', 'UTC') AS until
SELECT s.actor AS actor, s.attrs['comm'] AS program, s.attrs['auid'] AS login_uid, s.attrs['uid'] AS as_uid, p.attrs['nametype'] AS how,
    p.attrs['name'] AS path, min(p.ts) AS first, max(p.ts) AS last, count() AS times
FROM
(
    SELECT cluster, host, ts, attrs FROM trainwatch.events
    WHERE source = 'auditd' AND ts >= since AND ts < until AND attrs['record_type'] = 'PATH'
        AND startsWith(attrs['name'], the_folder) AND attrs['nametype'] != 'PARENT'
) AS p
INNER JOIN
(
    SELECT cluster, host, ts, actor, attrs FROM trainwatch.events
    WHERE source = 'auditd' AND ts >= since AND ts < until AND attrs['record_type'] = 'SYSCALL' AND attrs['success'] = 'yes'
) AS s ON s.cluster = p.cluster AND s.host = p.host AND s.ts = p.ts AND s.attrs['serial'] = p.attrs['serial']
GROUP BY actor, program, login_uid, as_uid, how, path
ORDER BY last DESC
LIMIT 500;

-- 7. Which jobs ran on this node in the hour before?
-- why: a node that was bad for one job was often bad for the one before; and whoever had a job there could log in.
-- cost: small (verdicts).   rows: yes
WITH 'gpu-003' AS the_host, toDateTime('2026-03-06 22:20:05', 'UTC') AS the_moment
SELECT job_id, owner, start_time, end_time, state, verdict, cause, nodes
FROM trainwatch.verdicts_current
WHERE has(nodes, the_host) AND start_time <= the_moment AND end_time >= the_moment - INTERVAL 1 HOUR AND status != 'retracted'
ORDER BY start_time;

-- 8. When and from where did this person log in?
-- why: an address, key or hour that is new for the person is a reason to ask before one accuses.
-- cost: period (events of sshd).   rows: yes
WITH 'u004' AS the_actor, toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT attrs['address'] AS address, attrs['method'] AS method, attrs['fingerprint'] AS key_fingerprint, groupUniqArray(20)(host) AS hosts,
    countIf(attrs['outcome'] = 'accepted') AS accepted, countIf(attrs['outcome'] = 'failed') AS failed, min(ts) AS first, max(ts) AS last
FROM trainwatch.events
WHERE source = 'sshd' AND kind = 'login' AND actor = the_actor AND ts >= since
GROUP BY address, method, key_fingerprint
ORDER BY last DESC;

-- 9. Which key was used for more than one account?
-- why: a shared or stolen key makes the owner of the account the wrong suspect.
-- cost: period (events of sshd).   rows: may be none
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT attrs['fingerprint'] AS key_fingerprint, groupUniqArray(20)(actor) AS accounts, groupUniqArray(20)(attrs['address']) AS addresses,
    min(ts) AS first, max(ts) AS last, count() AS logins
FROM trainwatch.events
WHERE source = 'sshd' AND kind = 'login' AND attrs['outcome'] = 'accepted' AND attrs['fingerprint'] != '' AND ts >= since
GROUP BY key_fingerprint
HAVING uniqExact(actor) > 1
ORDER BY length(accounts) DESC;

-- 10. From which addresses were passwords guessed, and did one succeed later?
-- why: a success behind many failures is a borrowed account.
-- cost: period (events of sshd).   rows: yes
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT attrs['address'] AS address, countIf(attrs['outcome'] = 'failed') AS failed, countIf(attrs['outcome'] = 'accepted') AS accepted,
    uniqExact(attrs['user']) AS names_tried, minIf(ts, attrs['outcome'] = 'failed') AS first_failed, max(ts) AS last
FROM trainwatch.events
WHERE source = 'sshd' AND kind = 'login' AND ts >= since
GROUP BY address
HAVING failed > 0
ORDER BY accepted DESC, failed DESC
LIMIT 50;

-- 11. What is found and open, the gravest first?
-- why: the list to work through; an empty actor says in `actor_withheld` why nobody is named.  What people labelled false or benign is done.
-- cost: small (findings, incidents, labels).   rows: yes
SELECT finding_id, severity, detector, status, subject, subject_name, owner, actor, actor_withheld, round(confidence, 2) AS sure,
    cause_time, summary
FROM trainwatch.findings_told
WHERE status != 'retracted' AND alert
    AND finding_id NOT IN (SELECT finding_id FROM trainwatch.dismissed_current)
ORDER BY indexOf(['critical', 'high', 'medium', 'low'], severity), cause_time DESC;

-- 12. Which findings stayed below the gate, and why?
-- why: a gate that holds back many of one detector asks for a label, a ticket or a source that is missing.
-- cost: small (findings).   rows: may be none
SELECT detector, gate, count() AS findings, round(avg(confidence), 2) AS sure, min(cause_time) AS first, max(cause_time) AS last,
    any(finding_id) AS example
FROM trainwatch.findings_current
WHERE NOT alert AND status != 'retracted'
GROUP BY detector, gate
ORDER BY findings DESC;

-- 13. What proves this finding, line by line?
-- why: what a person has to answer for is the record, not our summary of it.
-- cost: key (finding_evidence), filter (events by event_id).   rows: yes
WITH '9d936a3dde4da38361dcd7a1fdf5e202' AS the_finding
SELECT c.position AS position, c.role AS role, c.event_time AS event_time, c.source AS source, c.summary AS summary, e.host AS host,
    e.raw AS raw,
    e.sha256 = c.sha256 AS same_line, e._topic AS topic, e._partition AS partition, e._offset AS offset
FROM trainwatch.finding_evidence_current AS c
LEFT JOIN
(
    SELECT * FROM trainwatch.events
    WHERE event_id IN (SELECT event_id FROM trainwatch.finding_evidence WHERE finding_id = the_finding)
    LIMIT 1 BY event_id, sha256
) AS e ON e.event_id = c.event_id
WHERE c.finding_id = the_finding
ORDER BY position, same_line DESC
LIMIT 1 BY position;

-- 14. Which harmless explanations were looked at, and which could not be?
-- why: "not_checked" names the source that would have told; without it the finding is weaker than it looks.
-- cost: small (findings).   rows: yes
WITH '9d936a3dde4da38361dcd7a1fdf5e202' AS the_finding
SELECT detector, c.1 AS explanation, c.2 AS answer, c.3 AS by_event_id, c.4 AS note, c.5 AS missing
FROM trainwatch.findings_current
ARRAY JOIN checklist AS c
WHERE finding_id = the_finding;

-- 15. How long until we knew?
-- why: the time from the act until the finding stood here, and how much of it is the wait for windows to close.
-- cost: small (findings).   rows: yes
SELECT detector, count() AS findings, quantile(0.5)(dateDiff('second', cause_time, effect_time)) AS cause_to_effect_seconds_median,
    quantile(0.5)(seconds_to_final) AS effect_to_final_seconds_median, quantile(0.5)(seconds_to_first) AS effect_to_stored_seconds_median,
    max(seconds_to_first) AS effect_to_stored_seconds_max
FROM trainwatch.detection_times
WHERE status != 'retracted'
GROUP BY detector
ORDER BY detector;

-- 16. Which incident does this finding belong to, and who else may have done it?
-- why: the leading name alone misleads: the gap to the second one is what counts.
-- cost: small (incidents).   rows: yes
WITH '9d936a3dde4da38361dcd7a1fdf5e202' AS the_finding
SELECT i.incident_id AS incident_id, i.title AS title, i.status AS status, i.named AS named, i.withheld AS withheld,
    a.position AS position, a.kind AS kind, a.who AS who,
    round(a.low, 2) AS low, round(a.high, 2) AS high, i.gap_low AS gap_low,
    if(i.second = replaceOne(i.leader, 'did/', 'borrowed/'), 0.5, i.gap_needed) AS gap_needed, a.evidence AS evidence
FROM trainwatch.incident_findings_current AS m
INNER JOIN trainwatch.incidents_current AS i ON i.incident_id = m.incident_id
LEFT JOIN trainwatch.attribution_current AS a ON a.incident_id = i.incident_id
WHERE m.finding_id = the_finding AND i.status != 'retracted'
ORDER BY incident_id, position;

-- 17. Which sources were silent at this time?
-- why: nothing seen means nothing only where somebody was looking.
-- cost: period (events, two columns), one day before and after.   rows: yes
WITH toDateTime('2026-03-06 22:20:05', 'UTC') AS the_moment
SELECT source, maxOrNullIf(ts, ts <= the_moment) AS heard_before, minOrNullIf(ts, ts > the_moment) AS heard_after,
    dateDiff('second', heard_before, heard_after) AS gap_seconds, ifNull(gap_seconds > 3600, true) AS silent
FROM trainwatch.events
WHERE ts BETWEEN the_moment - INTERVAL 1 DAY AND the_moment + INTERVAL 1 DAY
GROUP BY source
ORDER BY silent DESC, gap_seconds DESC;

-- 18. Which hosts stopped sending, per source?
-- why: a host that is quiet while its neighbours speak is dead, unplugged or silenced.
-- cost: period (events, three columns).   rows: yes
WITH toDateTime('2026-03-04 00:00:00', 'UTC') AS since, toDateTime('2026-03-05 00:00:00', 'UTC') AS until
SELECT source, host, max(ts) AS last_heard, dateDiff('minute', last_heard, until) AS minutes_silent, count() AS events
FROM trainwatch.events
WHERE ts >= since AND ts < until AND host != ''
GROUP BY source, host
ORDER BY minutes_silent DESC
LIMIT 50;

-- 19. How many records came late, per source?
-- why: late records are stored and judged nothing; raise time.out_of_order_seconds_by_family where many do.
-- cost: period (events, five columns).   rows: yes
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT source, count() AS events, countIf(late) AS late_events, round(100 * late_events / events, 3) AS late_percent,
    countIf(future) AS ahead_of_collection,
    quantileIf(0.99)(dateDiff('second', ts, collected_time), collected_time > toDateTime(0)) AS seconds_to_collect_p99
FROM trainwatch.events
WHERE ts >= since
GROUP BY source
ORDER BY late_percent DESC, events DESC;

-- 20. How many records were refused, by reason and hour?
-- why: a jump is a shipper or a format that changed; `trainwatch dlq list` shows the records.
-- cost: small (sink_ranges, with FINAL); the hour is that of the checkpoint.   rows: yes
SELECT toStartOfHour(_inserted) AS hour, topic, code, count() AS records
FROM trainwatch.sink_ranges FINAL
ARRAY JOIN listed_codes AS code
WHERE code NOT IN ('control', 'nothing_to_keep', 'tombstone', 'empty')
GROUP BY hour, topic, code
ORDER BY hour DESC, records DESC;

-- 21. Why did jobs fail, week by week?
-- why: failure is normal; what changes is worth a look.
-- cost: small (verdicts).   rows: yes
SELECT toMonday(end_time) AS week, cause, count() AS attempts, uniqExact(owner) AS owners,
    round(100 * attempts / sum(attempts) OVER (PARTITION BY week), 1) AS percent
FROM trainwatch.verdicts_current
WHERE state NOT IN ('COMPLETED') AND status != 'retracted'
GROUP BY week, cause
ORDER BY week DESC, attempts DESC;

-- 22. How many ends stay unexplained, by size of the job?
-- why: a share that grows with the size points at the fabric, one that does not at people.
-- cost: small (verdicts).   rows: yes
SELECT multiIf(gpus IS NULL, 'unknown', gpus <= 8, '1-8', gpus <= 64, '9-64', gpus <= 512, '65-512', 'more') AS gpus_of_job,
    count() AS attempts,
    countIf(verdict = 'unexplained') AS unexplained, countIf(verdict = 'interference') AS interference,
        round(100 * unexplained / attempts, 1) AS unexplained_percent
FROM trainwatch.verdicts_current
WHERE status != 'retracted'
GROUP BY gpus_of_job
ORDER BY min(gpus);

-- 23. How many GPU-hours did harmed attempts hold?
-- why: the upper bound of what was lost; what was saved before is not subtracted (question 34 does that).
-- cost: small (verdicts, findings).   rows: yes
SELECT f.detector AS detector, f.severity AS severity, count() AS attempts, uniqExact(v.owner) AS owners,
    round(sum(v.gpus * dateDiff('second', v.start_time, v.end_time)) / 3600, 1) AS gpu_hours_held
FROM trainwatch.findings_current AS f
INNER JOIN trainwatch.verdicts_current AS v ON v.cluster = f.cluster AND v.job_id = f.job_id AND v.attempt = f.attempt
WHERE f.alert AND f.status != 'retracted'
GROUP BY detector, severity
ORDER BY gpu_hours_held DESC;

-- 24. Who tried to cancel a job and was refused?
-- why: the controller says no and the job lives, so no effect leads there; repeated tries before a success matter.
-- cost: period (events of slurmctld).   rows: may be none
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT e.ts AS ts, e.actor AS actor, e.attrs['uid'] AS uid, e.job_id AS job_id, v.owner AS owner, e.raw AS raw
FROM trainwatch.events AS e
LEFT JOIN (SELECT cluster, job_id, any(owner) AS owner FROM trainwatch.verdicts_current GROUP BY cluster, job_id) AS v
    ON v.cluster = e.cluster AND v.job_id = e.job_id
WHERE e.source = 'slurmctld' AND e.kind = 'kill_request' AND e.attrs['refused'] = 'true' AND e.ts >= since
ORDER BY ts;

-- 25. Who cancelled whose jobs?
-- why: everybody who asked, beside the owner: the same name twice is the owner himself.
-- cost: period (events of slurmctld).   rows: yes
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT e.actor AS actor, v.owner AS owner, actor = owner AS own_job, uniqExact(e.job_id) AS jobs, min(e.ts) AS first, max(e.ts) AS last
FROM trainwatch.events AS e
LEFT JOIN (SELECT cluster, job_id, any(owner) AS owner FROM trainwatch.verdicts_current GROUP BY cluster, job_id) AS v
    ON v.cluster = e.cluster AND v.job_id = e.job_id
WHERE e.source = 'slurmctld' AND e.kind = 'kill_request' AND e.ts >= since
GROUP BY actor, owner
ORDER BY own_job, jobs DESC;

-- 26. Who signalled processes of other people's jobs?
-- why: a signal that reached a rank, with whose process it was and what became of the job.
-- cost: period (enriched_events).   rows: yes
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT e.ts AS ts, e.actor AS actor, e.relation AS relation, e.attrs['signal'] AS signal, e.host AS host, e.job_id AS job_id,
    e.owner AS owner, v.verdict AS verdict, v.cause AS cause
FROM trainwatch.enriched_current AS e
LEFT JOIN (SELECT cluster, job_id, attempt, verdict, cause FROM trainwatch.verdicts_current) AS v
    ON v.cluster = e.cluster AND v.job_id = e.job_id AND v.attempt = e.attempt
WHERE e.kind = 'signal_sent' AND e.relation NOT IN ('owner', 'daemon') AND e.ts >= since
ORDER BY ts
LIMIT 200;

-- 27. Which jobs are slower than their siblings?
-- why: the same owner, name and size should need the same time for a step.
-- cost: period (events of training and of the scheduler).   rows: yes
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT job_id, owner, name, gpus, step_ms, siblings, round(step_ms / sibling_ms, 3) AS times_slower
FROM
(
    SELECT p.job_id AS job_id, j.owner AS owner, j.name AS name, j.gpus AS gpus, p.step_ms AS step_ms, count() OVER w AS siblings,
        quantile(0.5)(p.step_ms) OVER w AS sibling_ms
    FROM
    (
        SELECT cluster, job_id, quantile(0.5)(toFloat64OrNull(attrs['elapsed_ms'])) AS step_ms
        FROM trainwatch.events
        WHERE source = 'training' AND kind = 'iteration' AND ts >= since
        GROUP BY cluster, job_id
        HAVING step_ms > 0
    ) AS p
    INNER JOIN
    (
        SELECT cluster, job_id, any(actor) AS owner, any(attrs['name']) AS name, any(attrs['gpus']) AS gpus
        FROM trainwatch.events
        WHERE source IN ('slurm_jobcomp', 'sacct') AND kind = 'job_record' AND attrs['gpus'] != '' AND ts >= since
        GROUP BY cluster, job_id
    ) AS j ON j.cluster = p.cluster AND j.job_id = p.job_id
    WINDOW w AS (PARTITION BY j.owner, j.name, j.gpus)
)
WHERE siblings > 1
ORDER BY times_slower DESC
LIMIT 50;

-- 28. Who used root's rights, where and for what?
-- why: sudo and su leave a line; what was run as root has no other owner.
-- cost: period (events of sshd).   rows: yes
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT ts, host, actor, attrs['run_as'] AS run_as, attrs['command'] AS command, attrs['working_directory'] AS working_directory
FROM trainwatch.events
WHERE source = 'sshd' AND kind = 'privilege_used' AND ts >= since
ORDER BY ts DESC
LIMIT 200;

-- 29. What happened on this host in these ten minutes?
-- why: the last resort: everything, from all sources, as it was written.
-- cost: period (events of one host, ten minutes).   rows: yes
WITH 'gpu-003' AS the_host, toDateTime('2026-03-06 22:20:05', 'UTC') AS the_moment
SELECT ts, source, kind, actor, job_id, raw
FROM trainwatch.events
WHERE host = the_host AND ts BETWEEN the_moment - INTERVAL 5 MINUTE AND the_moment + INTERVAL 5 MINUTE
ORDER BY ts, _topic, _partition, _offset, _index
LIMIT 2000;

-- 30. What was heard per source and hour?
-- why: the map of what can be proved at all; an hour without a row was silent.
-- cost: period (events, four columns).   rows: yes
WITH toDateTime('2026-03-04 00:00:00', 'UTC') AS since, toDateTime('2026-03-05 00:00:00', 'UTC') AS until
SELECT hour, source, events, duplicates, late, hosts
FROM trainwatch.coverage
WHERE hour >= since AND hour < until
ORDER BY hour, source;

-- 31. Which events came more than once, and from which shipper?
-- why: a doubled shipper costs space and changes no finding; the same id stands at two offsets.
-- cost: period (events, event_id).   rows: yes
WITH toDateTime('2026-03-01 00:00:00', 'UTC') AS since
SELECT source, host, count() AS ids_doubled, sum(copies - 1) AS copies_too_many, any(event_id) AS example
FROM
(
    SELECT source, host, event_id, count() AS copies
    FROM trainwatch.events
    WHERE ts >= since
    GROUP BY source, host, event_id
    HAVING copies > 1
)
GROUP BY source, host
ORDER BY copies_too_many DESC;

-- 32. How far back does each table reach, and how large is it?
-- why: what retention has dropped cannot be asked; clickhouse.retention_days sets it.
-- cost: small (system.parts).   rows: yes
SELECT p.table AS table, sum(p.rows) AS rows, formatReadableSize(sum(p.bytes_on_disk)) AS on_disk, min(p.partition) AS first_week,
    max(p.partition) AS last_week,
    any(extract(t.engine_full, 'toIntervalDay\\((\\d+)\\)')) AS retention_days
FROM system.parts AS p
INNER JOIN system.tables AS t ON t.database = p.database AND t.name = p.table
WHERE p.active AND p.database = 'trainwatch'
GROUP BY table
ORDER BY sum(p.bytes_on_disk) DESC;

-- 33. How often is each detector right, as far as people have said?
-- why: precision from labels; a finding that nobody labelled counts nowhere.
-- cost: small (findings, labels).   rows: yes
SELECT detector, findings, labelled, true_findings, false_findings, benign_findings, precision
FROM trainwatch.detector_quality
ORDER BY detector;

-- 34. What did each incident cost, low, middle and high?
-- why: low is proved, middle is claimed by findings above their gate, high counts those below it; "hours only": no prices are set.
-- cost: small (incidents, loss_lines).   rows: yes
SELECT i.incident_id AS incident_id, any(i.title) AS title, any(i.first_time) AS since, any(i.alert) AS above_gate, l.ledger AS ledger,
    round(sum(l.gpu_hours_low), 1) AS hours_low, round(sum(l.gpu_hours_middle), 1) AS hours_middle,
    round(sum(l.gpu_hours_high), 1) AS hours_high, round(sum(l.money_low)) AS money_low, round(sum(l.money_middle)) AS money_middle,
    round(sum(l.money_high)) AS money_high, if(any(l.currency) = '', any(l.method), any(l.currency)) AS currency
FROM trainwatch.incidents_current AS i
INNER JOIN trainwatch.loss_lines_current AS l ON l.incident_id = i.incident_id
WHERE i.status != 'retracted'
GROUP BY incident_id, ledger
ORDER BY above_gate DESC, hours_middle DESC;

-- 35. How does the cost of this finding's incident come about?
-- why: each line has its formula, the inputs of each reading and its records; none counts an hour that another one counts.
-- cost: small (loss_lines).   rows: yes
WITH '9d936a3dde4da38361dcd7a1fdf5e202' AS the_finding
SELECT position, ledger, kind, job_id, gpu_hours_low, gpu_hours_middle, gpu_hours_high, formula, gpus, nodes, inputs, note,
    evidence
FROM trainwatch.loss_lines_current
WHERE incident_id IN (SELECT incident_id FROM trainwatch.incident_findings_current WHERE finding_id = the_finding)
ORDER BY incident_id, position;

-- 36. Which incidents are open, and who works on them?
-- why: what people say of a case stands in the journal, and a case of which nobody has said anything is open.
-- cost: small (incidents, incident_journal).   rows: yes
SELECT i.incident_id AS incident_id, any(i.severity) AS severity, any(i.title) AS title, any(i.last_time) AS last_time,
    if(argMaxIf(j.value, j.at, j.action = 'status') = '', 'open', argMaxIf(j.value, j.at, j.action = 'status')) AS state,
    argMaxIf(j.value, j.at, j.action = 'assign') AS assignee, countIf(j.action = 'note') AS notes
FROM (SELECT *, arrayJoin(arrayPushFront(aliases, incident_id)) AS known_as FROM trainwatch.incidents_current WHERE status != 'retracted') AS i
LEFT JOIN trainwatch.incident_journal AS j ON j.incident_id = i.known_as
WHERE i.alert
GROUP BY incident_id
HAVING state != 'closed'
ORDER BY indexOf(['critical', 'high', 'medium', 'low'], severity), last_time DESC;

-- 37. Are the lines that prove this finding as they came, and does a signed seal cover them?
-- why: the line is hashed again; `trainwatch evidence verify` also checks signatures, order and the whole chain.
-- cost: key (finding_evidence), filter (events by event_id).   rows: yes
WITH '9d936a3dde4da38361dcd7a1fdf5e202' AS the_finding
SELECT c.position AS position, c.role AS role, e.source AS source, lower(hex(SHA256(e.raw))) = c.sha256 AS same_line,
    countIf(s.lo <= e._offset AND e._offset < s.hi) > 0 AS sealed, e._topic AS topic, e._partition AS partition, e._offset AS offset
FROM trainwatch.finding_evidence_current AS c
INNER JOIN
(
    SELECT event_id, source, raw, _topic, _partition, _offset, _incarnation FROM trainwatch.events
    WHERE event_id IN (SELECT event_id FROM trainwatch.finding_evidence WHERE finding_id = the_finding)
) AS e ON e.event_id = c.event_id
LEFT JOIN trainwatch.evidence_roots AS s ON s.topic = e._topic AND s.partition = e._partition AND s.incarnation = e._incarnation
WHERE c.finding_id = the_finding
GROUP BY position, role, source, same_line, topic, partition, offset
ORDER BY position, same_line DESC, sealed DESC
LIMIT 1 BY position;

-- 38. Who looked at, took out, held or labelled evidence, and of what?
-- why: the chain of custody; a hold that nobody released is kept without an end.
-- cost: small (custody_log).   rows: may be none
SELECT time, account, action, subject, detail, sha256 AS bundle_sha256
FROM trainwatch.custody_log
ORDER BY time DESC
LIMIT 200;

-- 39. Which partition does a worker not keep up with, and what do workers remember?
-- why: lag that grows for hours means too few workers, or one that hangs; a state that grows without end means `retention` is too long.
-- cost: period (standings).   rows: yes
SELECT stage, topic, partition, argMax(worker, _inserted) AS worker, argMax(lag, _inserted) AS waiting, max(lag) AS waiting_at_most,
    argMax(lag_seconds, _inserted) AS seconds_behind, formatReadableSize(argMax(state_bytes, _inserted)) AS state, max(_inserted) AS told
FROM trainwatch.standings
WHERE _inserted >= now() - toIntervalHour(1)
GROUP BY stage, topic, partition
ORDER BY waiting DESC, stage, topic, partition
LIMIT 200;

-- 40. Which alerts were suppressed, why, and when for the last time?
-- why: suppression keeps counts: one that hides more and more is to be looked at; one that hides nothing can go.
-- cost: period (findings).   rows: may be none
SELECT detector, gate, count() AS findings, uniqExact(attempt) AS attempts, max(effect_time) AS last
FROM trainwatch.findings_current
WHERE startsWith(gate, 'suppressed until ') AND status != 'retracted'
GROUP BY detector, gate
ORDER BY findings DESC, detector, gate;
