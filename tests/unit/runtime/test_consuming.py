"""Consumers that look from outside: closed whatever happens, and Kafka's errors told as ours."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import CoordinatorLoadInProgressError, KafkaError

from pipeline.errors import BrokerUnavailable, ConfigError
from pipeline.runtime import consuming, offsets
from pipeline.runtime.consuming import consumer, ends_of, offsets_at, record_of
from pipeline.runtime.history import KafkaHistory, Span
from pipeline.runtime.notify import Notifier
from pipeline.runtime.notify_book import Book
from pipeline.runtime.offsets import read_ends
from pipeline.runtime.originals import read_originals
from pipeline.runtime.sampling import newest
from pipeline.settings import KafkaSettings, Settings

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1", training_topics=(), scheduler_topics=("logs.slurm",), access_topics=())
MISSING = "no such topic"


class Client:
    """Kafka's client with a broker that gives up at one question; `opened` counts those that nobody closed."""

    opened = 0
    gives_up_at = ""
    asked: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        Client.asked = options
        if Client.gives_up_at == "connect":
            raise KafkaError("nobody there")
        Client.opened += 1

    def close(self, timeout_ms: int) -> None:
        assert 0 < timeout_ms <= 5000  # who ends a tool does not wait for a broker that is away
        Client.opened -= 1

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == Client.gives_up_at:
            raise KafkaError("gone")
        topics = {"logs.slurm", "trainwatch.findings.v1"} - ({"trainwatch.findings.v1"} if Client.gives_up_at == MISSING else set())
        answers: dict[str, Any] = {"topics": topics, "partitions_for_topic": {0}}
        offsets = {"beginning_offsets": 0, "end_offsets": 5, "offsets_for_times": SimpleNamespace(offset=2)}
        return lambda parts=(), *_, **__: dict.fromkeys(parts, offsets[name]) if name in offsets else answers.get(name)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    """In the place of Kafka's."""
    monkeypatch.setattr(consuming, "KafkaConsumer", Client)
    monkeypatch.setattr(Client, "opened", 0)
    monkeypatch.setattr(Client, "gives_up_at", "")
    return Client


def notifier(folder: Path) -> None:
    """One that knows a target."""
    told = {"targets": [{"name": "chat", "url": "https://chat.example/hook"}], "state_file": folder / "notify.sqlite"}
    settings = Settings.model_validate({"kafka": KAFKA.model_dump(), "notify": told})
    with Book(settings.notify.state_file) as book:
        Notifier(settings, book, lambda _: None)


READERS: dict[str, Callable[[Path], object]] = {
    "history": lambda _: KafkaHistory(KAFKA, Span(0, None)),
    "offsets": lambda _: read_ends(KAFKA, [("logs.slurm", 0)]),
    "originals": lambda _: read_originals(KAFKA, [("logs.slurm", 0, 3)]),
    "sampling": lambda _: list(newest(KAFKA, "logs.slurm", 5)),
    "notifier": notifier,
}


@pytest.mark.parametrize(
    ("reader", "at"),
    [
        *((reader, "connect") for reader in READERS),
        ("history", "topics"),
        ("history", "partitions_for_topic"),
        ("history", "end_offsets"),
        ("history", "offsets_for_times"),
        ("history", "beginning_offsets"),
        ("offsets", "end_offsets"),
        ("originals", "beginning_offsets"),
        ("originals", "seek"),
        ("sampling", "topics"),
        ("sampling", "assign"),
        ("notifier", "topics"),
        ("notifier", "subscribe"),
    ],
)
def test_a_broker_that_gives_up_leaves_nothing_open(client: type[Client], tmp_path: Path, reader: str, at: str) -> None:
    """Wherever it does so; a service that tries again every minute would run out of sockets."""
    client.gives_up_at = at
    with pytest.raises(BrokerUnavailable, match=r"no answer from Kafka at 127\.0\.0\.1:1|cannot read logs\.slurm"):
        READERS[reader](tmp_path)
    assert client.opened == 0


def test_a_notifier_without_its_topic_leaves_nothing_open(client: type[Client], tmp_path: Path) -> None:
    """As on a broker on which no topics were made yet."""
    client.gives_up_at = MISSING
    with pytest.raises(ConfigError, match="does not exist"):
        notifier(tmp_path)
    assert client.opened == 0


def test_a_history_stays_open_until_it_is_left(client: type[Client]) -> None:
    """What the constructor opened is what `with` closes."""
    with KafkaHistory(KAFKA, Span(0, None)):
        assert client.opened == 1
    assert client.opened == 0


def test_nobody_joins_a_group_or_commits_unasked(client: type[Client]) -> None:
    """Options are added to that, and a group only where one is named."""
    with consumer(KAFKA, max_poll_records=1):
        assert (client.asked["group_id"], client.asked["enable_auto_commit"], client.asked["max_poll_records"]) == (None, False, 1)
    with consumer(KAFKA, group_id="g"):
        assert (client.asked["group_id"], client.asked["enable_auto_commit"]) == ("g", False)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [([("a", b"1"), ("b", None)], (("a", b"1"), ("b", b""))), ([], ()), (None, ())],
    ids=["one without value", "none", "not given"],
)
def test_a_record_is_ours(headers: Any, expected: tuple[tuple[str, bytes], ...]) -> None:
    """All its fields; a header without a value has an empty one."""
    given = {"topic": "t", "partition": 1, "offset": 2, "timestamp": 3, "value": b"v", "key": None}
    record = record_of(SimpleNamespace(**given, headers=headers))
    assert record.headers == expected
    assert {name: getattr(record, name) for name in given} == given


class Forgetful:
    """A client as it is, while only partition 0 of several has a leader: it forgets the others; of one alone it waits for it."""

    def __init__(self, *, raises: bool = True) -> None:
        self.raises = raises

    def end_offsets(self, parts: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        assert timeout_ms > 0
        told = {part: 7 for part in parts if len(parts) == 1 or part.partition == 0}
        return {part: told[part] for part in parts} if self.raises else told

    def beginning_offsets(self, parts: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(self.end_offsets(parts, timeout_ms), 3)

    def offsets_for_times(self, moments: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        led = [part for part in moments if len(moments) == 1 or part.partition == 0]
        told = {part: SimpleNamespace(offset=5) for part in led if moments[part] < 1000}
        return {part: told.get(part) for part in moments}


PARTS = [TopicPartition("logs.access", number) for number in range(3)]


@pytest.mark.parametrize("raises", [True, False])
def test_no_partition_is_left_out(raises: bool) -> None:
    """One without a leader would else be taken for one that is not there, or end a command with a KeyError."""
    reader = Forgetful(raises=raises)
    assert ends_of(reader, PARTS) == dict.fromkeys(PARTS, 7)
    assert ends_of(reader, PARTS, begins=True) == dict.fromkeys(PARTS, 3)
    assert ends_of(reader, []) == {}


@pytest.mark.parametrize(("moment", "offset"), [(-1, 5), (0, 5), (999, 5), (1000, 7)], ids=["before 1970", "first", "within", "behind all"])
def test_a_moment_has_an_offset_in_each_partition(moment: int, offset: int) -> None:
    """Also here one without a leader would be taken for one in which nothing is left to read."""
    assert offsets_at(Forgetful(), PARTS, moment, ends_of(Forgetful(), PARTS)) == dict.fromkeys(PARTS, offset)


class Still:
    """A client whose polls end without a record; `steps`: how far its position goes meanwhile."""

    steps = 0

    def __init__(self, **_: Any) -> None: ...

    def close(self, timeout_ms: int) -> None: ...

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0}

    def beginning_offsets(self, parts: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 0)

    def end_offsets(self, parts: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 5)

    def assign(self, parts: Sequence[TopicPartition]) -> None: ...

    def seek(self, part: TopicPartition, offset: int) -> None:
        self.at = offset

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        self.at += Still.steps
        return {}

    def position(self, part: TopicPartition) -> int:
        return self.at


def test_an_original_that_did_not_come_in_time_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there by its offset; what a client went past is no record any more."""
    monkeypatch.setattr(consuming, "KafkaConsumer", Still)
    with pytest.raises(BrokerUnavailable, match=r"logs\.slurm/0: nothing came from offset 3"):
        read_originals(KAFKA, [("logs.slurm", 0, 3)])
    monkeypatch.setattr(Still, "steps", 1)
    assert read_originals(KAFKA, [("logs.slurm", 0, 3)]) == {}


class Loading:
    """An administrator's client of a broker whose coordinator still reads what groups have committed, so many questions long."""

    questions = 0
    closed = 0

    def __init__(self, **_: Any) -> None: ...

    def list_group_offsets(self, group: str) -> dict[str, dict[TopicPartition, Any]]:
        Loading.questions -= 1
        if Loading.questions >= 0:
            raise CoordinatorLoadInProgressError
        return {group: {PARTS[0]: SimpleNamespace(offset=5)}}

    def close(self) -> None:
        Loading.closed += 1


@pytest.mark.parametrize("questions", [0, 2])
def test_a_group_has_its_offsets_also_just_after_a_start(monkeypatch: pytest.MonkeyPatch, questions: int) -> None:
    """One whose coordinator does not tell yet would else be taken for one that has read nothing."""
    monkeypatch.setattr(offsets, "KafkaAdminClient", Loading)
    monkeypatch.setattr(offsets, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(Loading, "questions", questions)
    monkeypatch.setattr(Loading, "closed", 0)
    assert offsets.committed(KAFKA) == {PARTS[0]: 5}
    assert Loading.closed == questions + 1


def test_a_coordinator_that_never_tells_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` must not call right what it could not compare."""
    monkeypatch.setattr(offsets, "KafkaAdminClient", Loading)
    monkeypatch.setattr(offsets, "COORDINATOR_SECONDS", 0)
    monkeypatch.setattr(Loading, "questions", 2)
    with pytest.raises(BrokerUnavailable, match=r"what the group .* has read cannot be asked"):
        offsets.committed(KAFKA)


def test_offsets_are_asked_for_in_one_place() -> None:
    """The worker's client is another one, which waits for all leaders."""
    asks = re.compile(r"\.(end_offsets|beginning_offsets|offsets_for_times)\b")
    package = Path(consuming.__file__).parents[1]
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if asks.search(path.read_text())}
    assert found == {"runtime/consuming.py", "runtime/bounds.py"}
