-- Lines say since 0032 from when until when they claim what, so that the hours which two incidents share need not be guessed: at each moment an
-- attempt loses what the largest claim then takes, as if the incidents were one.  Sums of kinds counted such hours twice in high, and the largest
-- claim of one incident left some out in low and middle.  Lines of a release before do not say: there the largest claim of one incident counts.
CREATE OR REPLACE VIEW {database}.losses_once{on_cluster} AS
SELECT
    t.cluster AS cluster,
    t.ledger AS ledger,
    t.attempt AS attempt,
    t.job_id AS job_id,
    t.incidents AS incidents,
    t.first_time AS first_time,
    t.last_time AS last_time,
    t.hours[1] AS gpu_hours_low,
    t.hours[2] AS gpu_hours_middle,
    t.hours[3] AS gpu_hours_high,
    t.money[1] AS money_low,
    t.money[2] AS money_middle,
    t.money[3] AS money_high,
    t.currency AS currency
FROM
(
    SELECT
        s.*,
        arrayMap(
            (most, summed, shared) -> if(s.untimed, most, greatest(most, least(summed, shared))),
            arrayMap(claimed -> arrayMax(mapValues(claimed)), s.by_incident), s.summed, s.shared
        ) AS hours,
        arrayMap(
            (once, priced, paid) -> if(priced = 0 OR once = priced, paid, paid * once / priced),
            hours, arrayMap(claimed -> claimed[s.currency], s.by_currency), arrayMap(amount -> amount[s.currency], s.paid)
        ) AS money
    FROM
    (
        SELECT
            c.*,
            arrayMap(claimed -> arraySum(mapValues(claimed)), c.by_incident) AS summed,
            arrayMap(
                spans -> arraySum(
                    (since, until) -> (until - since) / 3600000 * arrayMax(span -> if(span.2 <= since AND span.3 >= until, span.4, 0.), spans),
                    arrayPopBack(arraySort(arrayDistinct(arrayConcat(spans.2, spans.3)))),
                    arrayPopFront(arraySort(arrayDistinct(arrayConcat(spans.2, spans.3))))
                ),
                arrayMap(reading -> arrayFilter(span -> span.1 = reading, c.claims), ['low', 'middle', 'high'])
            ) AS shared
        FROM
        (
            SELECT
                i.cluster AS cluster,
                l.ledger AS ledger,
                l.attempt AS attempt,
                any(l.job_id) AS job_id,
                groupUniqArray(i.incident_id) AS incidents,
                min(i.first_time) AS first_time,
                max(i.last_time) AS last_time,
                argMaxIf(toString(l.currency), (i.last_time, i.incident_id), l.currency != '') AS currency,
                countIf(empty(l.inputs) AND l.gpu_hours_high > 0) > 0 AS untimed,
                [sumMap(map(i.incident_id, l.gpu_hours_low)), sumMap(map(i.incident_id, l.gpu_hours_middle)),
                    sumMap(map(i.incident_id, l.gpu_hours_high))] AS by_incident,
                [sumMap(map(toString(l.currency), l.gpu_hours_low)), sumMap(map(toString(l.currency), l.gpu_hours_middle)),
                    sumMap(map(toString(l.currency), l.gpu_hours_high))] AS by_currency,
                [sumMap(map(toString(l.currency), l.money_low)), sumMap(map(toString(l.currency), l.money_middle)),
                    sumMap(map(toString(l.currency), l.money_high))] AS paid,
                groupArrayArray(arrayMap(
                    each -> (each.reading, toUnixTimestamp64Milli(assumeNotNull(each.start)), toUnixTimestamp64Milli(assumeNotNull(each.end)),
                        l.gpus * each.share),
                    arrayFilter(each -> ifNull(each.end > each.start, 0), l.inputs)
                )) AS claims
            FROM {database}.loss_lines_current AS l
            INNER JOIN {database}.incidents_current AS i ON i.incident_id = l.incident_id
            WHERE i.status != 'retracted'
            GROUP BY i.cluster, l.ledger, l.attempt, if(l.attempt = '', i.incident_id, '')
        ) AS c
    ) AS s
) AS t
COMMENT 'Losses of all incidents, by attempt: of hours that several claim each counts once. What none lists by attempt stands by incident, in full.';

ALTER TABLE {database}.losses_once{on_cluster}
    COMMENT COLUMN cluster 'cluster',
    COMMENT COLUMN ledger 'direct: computing time; indirect: people''s time, as somebody states it',
    COMMENT COLUMN attempt 'cluster/job/submit/start; empty: people''s time, or what an incident does not list by attempt',
    COMMENT COLUMN job_id 'raw id of the job; empty: of none',
    COMMENT COLUMN incidents 'that claim something of it',
    COMMENT COLUMN first_time 'first act of the earliest of them',
    COMMENT COLUMN last_time 'last effect of the latest of them',
    COMMENT COLUMN gpu_hours_low 'hours, at each moment those of the largest claim: none is counted twice',
    COMMENT COLUMN gpu_hours_middle 'hours, at each moment those of the largest claim: none is counted twice',
    COMMENT COLUMN gpu_hours_high 'hours, at each moment those of the largest claim: none is counted twice',
    COMMENT COLUMN money_low 'in `currency`, as the hours',
    COMMENT COLUMN money_middle 'in `currency`, as the hours',
    COMMENT COLUMN money_high 'in `currency`, as the hours',
    COMMENT COLUMN currency 'ISO 4217; empty: no prices are set';
