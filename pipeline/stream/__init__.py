"""Event-time mechanics as pure functions and plain containers; no clock, no Kafka."""
