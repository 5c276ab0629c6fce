CREATE OR REPLACE VIEW {database}.dismissed_current{on_cluster} AS
SELECT
    l.finding_id AS finding_id,
    max(l.at) AS labelled_at,
    argMax(l.account, (l.at, l.label_id)) AS account,
    argMax(l.label, (l.at, l.label_id)) AS label
FROM {database}.labels AS l
WHERE (l.finding_id, l.holder) NOT IN
(
    SELECT m.finding_id, i.named
    FROM {database}.incident_findings_current AS m
    INNER JOIN {database}.incidents_current AS i ON i.incident_id = m.incident_id
    WHERE i.named != '' AND i.status != 'retracted' AND m.finding_id IN (SELECT finding_id FROM {database}.labels)
)
GROUP BY l.finding_id
HAVING label IN ('false', 'benign')
COMMENT 'Findings that people labelled false or benign; words of whoever an incident of the finding names are left out.';

ALTER TABLE {database}.dismissed_current{on_cluster}
    COMMENT COLUMN finding_id 'finding that calls for no action any more',
    COMMENT COLUMN labelled_at 'when that was said',
    COMMENT COLUMN account 'who said so, as the command found it: account@host; or as a topic brought it: account through topic',
    COMMENT COLUMN label 'false, benign';

ALTER TABLE {database}.findings{on_cluster}
    COMMENT COLUMN silent 'families never heard';
