-- Lines that were erased on request: where they stood, their sha256, by which the chain is still checked, and why.  A row is signed with the
-- site's evidence key, so that nobody who may only write here can pass tampering off as an erasure.  No row is ever dropped by age.
CREATE TABLE IF NOT EXISTS {database}.erasures{on_cluster}
(
    time DateTime64(3, 'UTC') COMMENT 'when, by the clock of the machine',
    account String COMMENT 'who: account and machine',
    reason String COMMENT 'why, as whoever did it states',
    topic LowCardinality(String) COMMENT 'topic of the record',
    incarnation LowCardinality(String) COMMENT 'of the topic',
    partition UInt16 COMMENT 'its partition',
    offset UInt64 COMMENT 'offset of the record',
    line UInt16 COMMENT 'number of the line in its record',
    event_id String COMMENT 'events.event_id: the row stays, without raw, attrs, actor and file',
    sha256 String COMMENT 'of the line that was there, hex: the same as in the leaf of its range',
    signing_key LowCardinality(String) COMMENT 'id of the key',
    signature String COMMENT 'Ed25519 over all of this, hex'
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY (topic, incarnation, partition, offset, line)
COMMENT 'Lines that were erased on request, with the sha256 by which the chain is still checked.';
