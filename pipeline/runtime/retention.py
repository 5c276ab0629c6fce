"""Topics in; for how long Kafka keeps their records out.

Asked once at the start of a worker: it serves a metric that warns before records are deleted unread, and a change shows after a restart.
"""

from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

SETTING = "retention.ms"
FIRST_ANSWER_MS = 10_000  # longest wait for a broker to answer at all


def seconds_by_topic(bootstrap_servers: str, topics: Iterable[str]) -> dict[str, float]:
    """Topics whose records are deleted by age.  Empty when the broker does not tell, say without the right to ask: it is only a metric."""
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap_servers.split(","), client_id="trainwatch-retention", bootstrap_timeout_ms=FIRST_ANSWER_MS
        )
    except KafkaError:
        return {}
    try:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic, {SETTING: None}) for topic in topics]
        found = client.describe_configs(resources, config_filter="all")
    except KafkaError:
        return {}
    finally:
        client.close()
    kept = {name: float(configs[SETTING]["value"]) for by_name in found.values() for name, configs in by_name.items() if SETTING in configs}
    return {name: milliseconds / 1000 for name, milliseconds in kept.items() if milliseconds > 0}
