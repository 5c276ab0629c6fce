"""What a notifier tells of itself: counts from the first one on, how long what waits has waited, and whether it gets on."""

from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from pipeline.errors import BrokerUnavailable
from pipeline.runtime import consuming
from pipeline.runtime.metrics import NOTIFIER
from pipeline.runtime.notify import Notifier
from pipeline.runtime.notify_book import Book
from pipeline.runtime.notify_metrics import NotifierMetrics
from pipeline.settings import Settings

T0 = 1_767_225_600_000
MINUTE = 60.0


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def metrics(clock: Clock | None = None) -> NotifierMetrics:
    return NotifierMetrics(("oncall", "lead"), 5 * MINUTE, clock or Clock())


def value(told: NotifierMetrics, name: str, **labels: str) -> float | None:
    return told.registry.get_sample_value(f"trainwatch_notify_{name}", labels)


def test_all_that_is_documented_is_there_from_the_beginning() -> None:
    """A counter that begins with its first count would hide it from `increase`."""
    told = metrics()
    assert {row.name for row in NOTIFIER} <= {sample.name for family in told.registry.collect() for sample in family.samples}
    assert value(told, "deliveries_total", target="lead", outcome="failed") == 0


def test_tries_are_counted_by_target_and_words_by_what_they_were() -> None:
    """Each once."""
    told = metrics()
    for success in (True, False, False):
        told.delivery("oncall", told=success)
    told.round(5, 1, 7)
    told.round(2, 0, 3)
    assert value(told, "deliveries_total", target="oncall", outcome="failed") == 2
    assert value(told, "deliveries_total", target="oncall", outcome="told") == 1
    assert value(told, "words_total", outcome="taken") == 7
    assert value(told, "words_total", outcome="passed_over") == 1
    assert value(told, "lag_records") == 3


def test_the_oldest_that_waits_is_told_and_forgotten_when_it_was_taken() -> None:
    """Also of a change, whose time is not kept: from the first look on, however often it changes again."""
    told = metrics()
    told.waits({("a", "oncall"): T0, ("b", "oncall"): T0 + 1000, ("a", "lead"): T0 + 2000}, T0 + 2000)
    assert (value(told, "waiting_notices", target="oncall"), value(told, "oldest_seconds", target="oncall")) == (2, 2)
    assert (value(told, "waiting_notices", target="lead"), value(told, "oldest_seconds", target="lead")) == (1, 0)
    told.waits({("a", "lead"): T0 + 60_000}, T0 + 62_000)
    assert (value(told, "waiting_notices", target="oncall"), value(told, "oldest_seconds", target="oncall")) == (0, 0)
    assert value(told, "oldest_seconds", target="lead") == 60


def test_it_is_looked_at_rarely() -> None:
    """Rounds may follow one another at once; to read the book each time would be most of the work."""
    clock = Clock()
    told = metrics(clock)
    assert [told.looks() for _ in range(2)] == [True, False]
    clock.now = MINUTE
    assert told.looks()


def test_it_is_ready_behind_a_round_and_unwell_when_none_ends() -> None:
    """One that Kafka did not answer is none."""
    clock = Clock()
    told = metrics(clock)
    answers = [told.answer(path) for path in ("/healthz", "/readyz", "/elsewhere")]
    assert [each and each[0][:3] for each in answers] == ["200", "503", None]
    told.round(0, 0, 0)
    assert (told.answer("/readyz") or ("",))[0][:3] == "503"
    told.answered()
    assert (told.answer("/readyz") or ("",))[0] == "200 OK"
    clock.now = 6 * MINUTE
    assert value(told, "round_age_seconds") == 360
    assert (told.answer("/healthz") or ("", b""))[1] == b'{"healthy": false, "reasons": ["no round has ended for 360 s"]}\n'


class Client:
    """Kafka's, which polls in vain whether there is nothing or nobody."""

    there = True

    def __init__(self, **_: Any) -> None: ...

    def topics(self) -> set[str]:
        return {"trainwatch.findings.v1"}

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0}

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("trainwatch.findings.v1", 0)}

    def subscribe(self, topics: list[str], listener: Any) -> None:
        listener.on_partitions_assigned(topics)

    def close(self, timeout_ms: int) -> None: ...

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        return {}

    def highwater(self, _: TopicPartition) -> int:
        return 4

    def position(self, _: TopicPartition, timeout_ms: int) -> int:
        return 2

    def end_offsets(self, parts: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        if not Client.there:
            raise KafkaTimeoutError("no answer")
        return dict.fromkeys(parts, 5)


def test_a_poll_that_nobody_answers_is_not_taken_for_one_that_finds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kafka's client answers both with nothing: so the brokers are asked beside it."""
    monkeypatch.setattr(consuming, "KafkaConsumer", Client)
    told = {"targets": [{"name": "oncall", "url": "https://chat.example/hook"}], "state_file": tmp_path / "notify.sqlite"}
    settings = Settings.model_validate({"notify": told})
    with Book(settings.notify.state_file) as book, Notifier(settings, book, lambda _: None) as notifier:
        clock = Clock()
        notifier.metrics = NotifierMetrics(("oncall",), 5 * MINUTE, clock)
        notifier.round(0)
        assert (value(notifier.metrics, "lag_records"), value(notifier.metrics, "round_age_seconds")) == (2, 0)
        monkeypatch.setattr(Client, "there", False)
        clock.now = 6 * MINUTE
        with pytest.raises(BrokerUnavailable):
            notifier.round(0)
        assert (notifier.metrics.answer("/healthz") or ("",))[0][:3] == "503"
