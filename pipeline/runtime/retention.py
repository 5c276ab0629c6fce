"""Topics in; for how long Kafka keeps their records out.

Asked once at the start of a worker: it serves a metric that warns before records are deleted unread, and a change shows after a restart.
"""

from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from pipeline.errors import TrainwatchError
from pipeline.runtime.access import client
from pipeline.settings import KafkaSettings

SETTING = "retention.ms"


def seconds_by_topic(settings: KafkaSettings, topics: Iterable[str]) -> dict[str, float]:
    """Topics whose records are deleted by age.  Empty when the broker does not tell, say without the right to ask: it is only a metric."""
    try:
        admin = client(KafkaAdminClient, settings, client_id="trainwatch-retention")
    except TrainwatchError:
        return {}
    try:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic, {SETTING: None}) for topic in topics]
        found = admin.describe_configs(resources, config_filter="all")
    except KafkaError:
        return {}
    finally:
        admin.close()
    kept = {name: float(configs[SETTING]["value"]) for by_name in found.values() for name, configs in by_name.items() if SETTING in configs}
    return {name: milliseconds / 1000 for name, milliseconds in kept.items() if milliseconds > 0}
