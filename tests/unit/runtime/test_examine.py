"""What `check` says of servers that answer in part."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import BrokerUnavailable
from pipeline.runtime import examine
from pipeline.settings import Settings
from pipeline.topology import build_topology


def test_a_broker_that_answers_is_not_told_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts without a leader have no newest one: that is no fault of the address, which the first line calls well."""

    def silent(*_: Any) -> int:
        raise BrokerUnavailable("no leader", advice="wait")

    monkeypatch.setattr(examine, "client", lambda *_, **__: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(examine, "_kafka", lambda *_: iter(()))
    monkeypatch.setattr(examine, "_newest", silent)
    lines = examine.kafka(Settings(), build_topology(Settings()), lambda: 0)
    assert [(line.what, str(line.mark)) for line in lines] == [("address", "ok"), ("clock", "fail")]
