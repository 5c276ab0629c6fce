"""The broker's files."""

from pathlib import Path

import pytest

from pipeline.embedded import kafka
from pipeline.embedded.files import MIB

PORTS = {kafka.BROKER: 20_001, kafka.CONTROLLER: 20_002}


def rendered(quota_mib: int = 20_480) -> dict[str, str]:
    text = kafka.properties(data=Path("/srv/kafka/data"), ports=PORTS, quota_mib=quota_mib)
    return dict(line.split("=", maxsplit=1) for line in text.splitlines())


def test_the_broker_listens_on_the_loopback_address_only() -> None:
    """It has no password."""
    values = rendered()
    assert values["listeners"] == "PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert values["advertised.listeners"] == "PLAINTEXT://127.0.0.1:20001"
    assert values["controller.quorum.voters"] == "1@127.0.0.1:20002"
    assert values["log.dirs"] == "/srv/kafka/data"


def test_topics_are_never_made_by_accident() -> None:
    """A typo in a topic name is an error, not a topic with one partition."""
    assert rendered()["auto.create.topics.enable"] == "false"


@pytest.mark.parametrize(
    ("quota_mib", "keep_mib"),
    [
        pytest.param(1_024, 64, id="smallest quota: never less than four segments"),
        pytest.param(20_480, 160, id="default quota: half of it over 64 partitions"),
        pytest.param(204_800, 1_600, id="large quota"),
    ],
)
def test_retention_follows_from_the_quota(quota_mib: int, keep_mib: int) -> None:
    """Old segments go before the disk is full."""
    values = rendered(quota_mib)
    assert int(values["log.retention.bytes"]) == keep_mib * MIB
    assert int(values["log.segment.bytes"]) * 4 == keep_mib * MIB


@pytest.mark.parametrize("quota_mib", [1_024, 20_480])
def test_a_line_of_five_megabytes_arrives(quota_mib: int) -> None:
    """The largest record fits into a message, a segment and a fetch."""
    values = rendered(quota_mib)
    assert int(values["message.max.bytes"]) > 6_000_000
    assert int(values["replica.fetch.max.bytes"]) >= int(values["message.max.bytes"])
    assert int(values["log.segment.bytes"]) > int(values["message.max.bytes"])


def test_a_replayed_week_is_not_deleted_for_its_age() -> None:
    """Records carry their own, old times."""
    assert rendered()["log.retention.ms"] == "-1"
