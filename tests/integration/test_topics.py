"""Making topics on a real broker."""

import pytest

from pipeline.errors import ConfigError
from pipeline.runtime.admin import Admin
from pipeline.settings import Settings
from pipeline.topology import build_topology

pytestmark = pytest.mark.servers


def test_too_few_brokers_are_told_with_the_setting(servers: Settings) -> None:
    """At once, and with what to do."""
    kafka = servers.kafka.model_copy(update={"replication_factor": 3, "topic_prefix": "three."})
    settings = servers.model_copy(update={"kafka": kafka})
    with Admin(settings, build_topology(settings)) as admin, pytest.raises(ConfigError, match="fewer brokers than kafka") as said:
        admin.ensure()
    assert "kafka.replication_factor" in str(said.value.advice)
