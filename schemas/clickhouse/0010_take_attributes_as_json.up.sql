-- Attributes arrive as one JSON text per row, which is not stored, and become the map here: a map costs the client four times as
-- much to send, and sending is a large part of what a record costs.
ALTER TABLE {database}.events{on_cluster}
    ADD COLUMN IF NOT EXISTS attrs_json String EPHEMERAL,
    MODIFY COLUMN IF EXISTS attrs Map(LowCardinality(String), String) DEFAULT JSONExtract(attrs_json, 'Map(LowCardinality(String), String)')
        COMMENT 'typed fields and what no field takes';
ALTER TABLE {database}.enriched_events{on_cluster}
    ADD COLUMN IF NOT EXISTS attrs_json String EPHEMERAL,
    MODIFY COLUMN IF EXISTS attrs Map(LowCardinality(String), String) DEFAULT JSONExtract(attrs_json, 'Map(LowCardinality(String), String)');
