"""Backups of state: what must not pass for whole, and who must not pass for absent."""

import gzip
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import CoordinatorNotAvailableError, GroupAuthorizationFailedError

from pipeline.errors import BrokerUnavailable, ConfigError, StateIncompatible
from pipeline.runtime import state_backup
from pipeline.runtime.state_backup import MAGIC, Entry, Head, Part
from pipeline.settings import Settings
from pipeline.topology import build_topology

SETTINGS = Settings()
TOPOLOGY = build_topology(SETTINGS)


class Asked:
    """An admin client that answers alike to every question."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self._answer = answer

    def describe_groups(self, groups: list[str]) -> dict[str, Any]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return {groups[0]: self._answer}


class Source:
    """A consumer of a broker on which every topic has two partitions, and ends at 100."""

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0, 1}

    def end_offsets(self, parts: list[Any], timeout_ms: int) -> dict[Any, int]:
        return dict.fromkeys(parts, 100)


@pytest.mark.parametrize(
    ("answer", "members"),
    [
        ({"error": None, "members": ["a", "b"]}, 2),
        ({"error": None, "members": []}, 0),
        ({"error": "[Error 69] GroupIdNotFoundError: no such group", "members": []}, 0),
        ({"error": "[Error 14] CoordinatorLoadInProgressError", "members": []}, None),
        (CoordinatorNotAvailableError(), None),
    ],
)
def test_workers_that_cannot_be_counted_are_not_absent(answer: Any, members: int | None) -> None:
    """The client tells some errors beside an empty list of members."""
    assert state_backup._members(Asked(answer), "trainwatch") == members


def test_who_may_not_ask_is_told() -> None:
    """Without the right, the list of members is empty."""
    with pytest.raises(GroupAuthorizationFailedError):
        state_backup._members(Asked({"error": "[Error 30] GroupAuthorizationFailedError: no", "members": []}), "trainwatch")


def test_saving_that_broke_off_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be closed properly, and pass for a site with fewer partitions."""

    def silent(*_: object) -> None:
        raise BrokerUnavailable("nothing came")

    monkeypatch.setattr(state_backup, "require_no_worker", lambda _: None)
    monkeypatch.setattr(state_backup, "cluster_id", lambda _: "here")
    monkeypatch.setattr(state_backup, "consumer", lambda _: nullcontext(Source()))
    monkeypatch.setattr(state_backup, "_log", silent)
    with pytest.raises(BrokerUnavailable):
        state_backup.save(SETTINGS, TOPOLOGY, tmp_path / "state.tw")
    assert list(tmp_path.iterdir()) == []


def _file(path: Path, parts: list[Part]) -> Path:
    with gzip.open(path, "wb") as file:
        file.write(MAGIC)
        state_backup._put(file, Head("0", "trainwatch", TOPOLOGY.prefix))
        for part in parts:
            state_backup._put(file, part)
    return path


@pytest.mark.parametrize(
    ("head", "anew", "refused"),
    [
        (Head("0", "trainwatch", TOPOLOGY.prefix, "here"), False, ""),
        (Head("0", "trainwatch", TOPOLOGY.prefix), False, ""),  # an earlier release did not say
        (Head("0", "trainwatch", TOPOLOGY.prefix, "there"), False, "Kafka cluster there"),
        (Head("0", "trainwatch", TOPOLOGY.prefix, "there"), True, ""),
        (Head("0", "other", TOPOLOGY.prefix, "here"), True, "kafka.group 'other'"),
        (Head("0", "trainwatch", "other.", "here"), True, "kafka.topic_prefix 'other.'"),
    ],
)
def test_a_file_of_another_site_is_refused(monkeypatch: pytest.MonkeyPatch, head: Head, anew: bool, refused: str) -> None:
    """By what it says of itself; on a new Kafka the memory may be taken over."""
    monkeypatch.setattr(state_backup, "cluster_id", lambda _: "here")
    with pytest.raises(StateIncompatible, match=refused) if refused else nullcontext():
        state_backup._require_same_site(head, SETTINGS.kafka, TOPOLOGY, anew=anew)


@pytest.mark.parametrize("numbers", [[], [1]])
def test_a_file_that_lacks_partitions_is_refused(tmp_path: Path, numbers: list[int]) -> None:
    """Before anything is changed."""
    path = _file(tmp_path / "state.tw", [Part("logs.access", number, 2, 0) for number in numbers])
    with pytest.raises(ConfigError, match="lacks partitions"):
        state_backup._look_through(Source(), TOPOLOGY, path, {}, anew=False)


def test_partitions_that_came_later_are_known(tmp_path: Path) -> None:
    """An input that grew from one partition to two, and all topics that the file does not have."""
    path = _file(tmp_path / "state.tw", [Part("logs.access", 0, 1, 0)])
    later = {(part.topic, part.partition) for part in state_backup._look_through(Source(), TOPOLOGY, path, {}, anew=False)}
    assert ("logs.access", 1) in later
    assert ("logs.access", 0) not in later
    assert {("logs.training", 0), ("logs.training", 1)} < later


def test_a_damaged_file_is_told_as_such(tmp_path: Path) -> None:
    """Also where decompression itself gives up."""
    path = tmp_path / "state.tw"
    with gzip.open(path, "wb") as file:
        file.write(MAGIC)
        state_backup._put(file, Head("0", "trainwatch", ""))
        state_backup._put(file, Part("logs.access", 0, 1, 1))
        state_backup._put(file, Entry("x", bytes(range(256)) * 50))
    content = bytearray(path.read_bytes())
    content[40] ^= 0xFF
    content[41] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ConfigError, match="cannot be read"):
        list(state_backup._read(path))
