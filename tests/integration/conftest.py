"""What several tests on the real servers share beside the servers: a day that is filled in once."""

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pipeline.settings import Settings

if TYPE_CHECKING:
    from tests.integration.day import Day


@pytest.fixture(scope="session")
def day(running_servers: Settings) -> "Iterator[Day]":
    """A simulated day in tables and topics of its own, for tests that only read.  Filled once for each process of the run."""
    # kafka-python warns at its import, which pytest bears only after the conftests are read.
    from tests.integration.day import filled  # noqa: PLC0415

    tag = f"d{uuid.uuid4().hex[:10]}"
    kafka = running_servers.kafka.model_copy(
        update={
            "topic_prefix": f"{tag}.",
            "group": tag,
            "partitions": 2,
            "training_topics": (f"{tag}.logs.training",),
            "scheduler_topics": (f"{tag}.logs.scheduler",),
            "access_topics": (f"{tag}.logs.access",),
        }
    )
    clickhouse = running_servers.clickhouse.model_copy(update={"database": tag})
    with filled(running_servers.model_copy(update={"kafka": kafka, "clickhouse": clickhouse})) as made:
        yield made
