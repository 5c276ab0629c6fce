-- A record may have several rows.  Where one of them is gone, and its offset has others, the sum says which offset that was.
ALTER TABLE {database}.sink_ranges{on_cluster}
    ADD COLUMN IF NOT EXISTS row_offset_sum UInt64 DEFAULT 0
        COMMENT 'sum of the offsets of all rows, each as often as it has rows; 0: not known, or a release before did not say'
        AFTER gap_codes;

-- Records that Kafka deleted before they were read are lost, and `absent` alone does not say so.
CREATE OR REPLACE VIEW {database}.range_accounts{on_cluster} AS
SELECT
    r.topic AS topic,
    r.incarnation AS incarnation,
    r.partition AS partition,
    r.lo AS lo,
    r.hi AS hi,
    toInt64(r.hi - r.lo) AS read,
    toInt64(r.offsets_written) AS written,
    toInt64(length(r.listed_offsets)) AS listed,
    toInt64(arraySum(arrayMap((first, behind) -> behind - first, r.gap_los, r.gap_his))) AS absent,
    read - written - listed - absent AS unaccounted,
    toInt64(arraySum(arrayMap((first, behind, why) -> if(why = 'overtaken', behind - first, 0), r.gap_los, r.gap_his, r.gap_codes)))
        AS overtaken,
    r.listed_codes AS codes,
    r.rows AS rows,
    r._inserted AS stored
FROM {database}.sink_ranges AS r
COMMENT 'Offset ranges that were made durable, and what became of their records.';

ALTER TABLE {database}.range_accounts{on_cluster}
    COMMENT COLUMN topic 'topic of the records',
    COMMENT COLUMN incarnation 'of the topic',
    COMMENT COLUMN partition 'partition of the topic',
    COMMENT COLUMN lo 'first offset',
    COMMENT COLUMN hi 'offset behind the last',
    COMMENT COLUMN read 'offsets of the range',
    COMMENT COLUMN written 'of them with at least one row',
    COMMENT COLUMN listed 'of them filtered or dead-lettered',
    COMMENT COLUMN absent 'of them that held no record when they were read, overtaken ones included',
    COMMENT COLUMN unaccounted 'of them of which nothing is known: 0 when all is well',
    COMMENT COLUMN overtaken 'of them that Kafka deleted before they were read',
    COMMENT COLUMN codes 'why offsets were listed, one code each',
    COMMENT COLUMN rows 'rows inserted for it, all tables',
    COMMENT COLUMN stored 'when it was noted';
