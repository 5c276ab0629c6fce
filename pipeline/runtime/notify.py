"""The topics of findings and incidents in; webhooks told, each of what concerns it, once.

    poll ──► words into the book ──► offsets committed ──► what is due ──► POST ──┬─ 2xx ──► noted as told
                                                                                 └─ else ──► tried again, later each time

Read in a consumer group of its own, so that workers never notice and a restart goes on where it was.  A target that does not answer holds
up nobody: others are told meanwhile, and its own next try has its time.

Holds: an offset is committed only after its word is in the book; a value that is not ours is counted and passed over.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import takewhile
from typing import Any, NamedTuple, Self

import orjson
from kafka import TopicPartition
from kafka.errors import CommitFailedError, KafkaError

from pipeline import __version__
from pipeline.errors import ConfigError, RejectedRecord
from pipeline.model.instants import HOUR_MS
from pipeline.runtime import webhook
from pipeline.runtime.access import absent, answering, told
from pipeline.runtime.consuming import Group, consumer, ends_of
from pipeline.runtime.notices import FINDINGS, INCIDENTS, Circumstances, Notice, payload, read, signature
from pipeline.runtime.notify_book import Book, Due, Word
from pipeline.runtime.notify_metrics import NotifierMetrics
from pipeline.runtime.webhook import Address, Answer
from pipeline.settings import NotifySettings, Settings, TargetSettings
from pipeline.topology import public_topic

GROUP_SUFFIX = ".notify"
UNREAD = "findings cannot be read"
CLIENT = "trainwatch-notify"
ROUND_MAX = 20  # deliveries before the topics are polled again
ROUND_SECONDS = 60.0  # which a round may take beside its deliveries
ANSWER_MS = 5000  # longest wait for Kafka where a round asks it: who ends the notifier waits as long

Say = Callable[[str], None]
Post = Callable[[Address, Mapping[str, str], bytes], Answer]


class Round(NamedTuple):
    """What one round did."""

    taken: int = 0
    refused: int = 0  # values that are not ours
    told: int = 0
    failed: int = 0


class Target(NamedTuple):
    """A webhook with what is needed to reach it."""

    settings: TargetSettings
    address: Address
    key: bytes


def targets_of(settings: NotifySettings) -> dict[str, Target]:
    """All targets, checked before anything is told.  Raises ConfigError."""
    if not settings.targets:
        raise ConfigError("there is nobody to notify", advice="Name webhooks under notify.targets in trainwatch.yaml; see README.md.")
    return {each.name: Target(each, webhook.address_of(each, settings), webhook.key_of(each, settings)) for each in settings.targets}


class Notifier:
    """Use as a context manager.  Raises BrokerUnavailable; ConfigError when a topic or an address is missing."""

    def __init__(self, settings: Settings, book: Book, say: Say, *, post: Post | None = None) -> None:
        self._settings, self._kafka, self._book, self._say = settings.notify, settings.kafka, book, say
        self._targets = targets_of(settings.notify)
        timeout = settings.notify.timeout_seconds
        self.untold: set[tuple[str, str]] = set()  # target and id of what this notifier tried to tell, and has not told since
        self.metrics = NotifierMetrics(self._targets, ROUND_SECONDS + ROUND_MAX * timeout)
        self._post: Post = post or (lambda address, headers, body: webhook.post(address, headers, body, timeout_seconds=timeout))
        self._contents = {public_topic(settings.kafka.topic_prefix, content): content for content in (FINDINGS, INCIDENTS)}
        findings = next(topic for topic, content in self._contents.items() if content == FINDINGS)
        with ExitStack() as opened:
            group = settings.kafka.group + GROUP_SUFFIX
            options = {"client_id": CLIENT, "group_id": group, "auto_offset_reset": "earliest"}
            self._consumer: Any = opened.enter_context(consumer(settings.kafka, **options))
            there = self._consumer.topics() & self._contents.keys()
            if findings not in there:
                raise absent(settings.kafka, findings)
            self._topics = sorted(there)
            self._group = Group(self._consumer, self._topics)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the group."""
        self._opened.close()

    def round(self, seconds: float, ended: Callable[[], bool] = lambda: False) -> Round:
        """Wait at most `seconds` for words, then tell what is due, until `ended`.  Raises BrokerUnavailable or FatalError."""
        self._book.forget(now_ms())
        taken, refused = self._take(seconds)
        told, failed = self.tell(now_ms(), ended)
        self.metrics.round(taken, refused, self._lag())
        if not ended() and self.metrics.looks():
            self.metrics.waits(self._book.undelivered(self._settings, now_ms()), now_ms())
            self._ask()
            self.metrics.answered()
        return Round(taken, refused, told, failed)

    def caught_up(self) -> bool:
        """Whether all that is on the topics was taken.  Raises BrokerUnavailable."""
        with answering(self._kafka, UNREAD):
            parts = list(self._consumer.assignment())
            return bool(parts) and all(self._consumer.position(part) >= end for part, end in ends_of(self._consumer, parts).items())

    def _lag(self) -> int:
        """Of what the last answers of the brokers said; nothing is asked."""
        with answering(self._kafka, UNREAD):
            ends = {part: self._consumer.highwater(part) for part in self._consumer.assignment()}
            places = {part: self._consumer.position(part, timeout_ms=0) for part, end in ends.items() if end is not None}
            return sum(max(0, ends[part] - at) for part, at in places.items() if at is not None)

    def _ask(self) -> None:
        """Something: a poll that no broker answers looks like one that finds nothing.  Raises BrokerUnavailable."""
        with answering(self._kafka, UNREAD):
            numbers = {topic: sorted(self._consumer.partitions_for_topic(topic) or ()) for topic in self._topics}
            parts = [TopicPartition(topic, number) for topic in self._topics for number in numbers[topic]]
            ends_of(self._consumer, parts, wait_ms=ANSWER_MS)

    def _take(self, seconds: float) -> tuple[int, int]:
        taken = refused = 0
        try:
            fetched = self._group.poll(seconds)
            if not fetched:
                return 0, 0
            now = now_ms()
            with self._book.at_once():
                for record in (record for records in fetched.values() for record in records):
                    if self._note(record, now):
                        taken += 1
                    else:
                        refused += 1
            self._consumer.commit(timeout_ms=ANSWER_MS)
        except CommitFailedError:  # the partition went to another notifier: its words are in the book, and taking them again is harmless
            pass
        except KafkaError as error:
            raise told(self._kafka, error, UNREAD) from error
        return taken, refused

    def _note(self, record: Any, now: int) -> bool:
        try:
            notice = read(self._contents[record.topic], record.value or b"")
        except RejectedRecord as error:
            self._say(f"{record.topic}/{record.partition}@{record.offset}: passed over: {error}")
            return False
        aged = record.timestamp < now - self._settings.age_hours_max * HOUR_MS
        self._book.take(notice, record.value, epoch=epoch_of(record.headers), offset=record.offset, now=now, aged=aged)
        return True

    def tell(self, now: int, ended: Callable[[], bool] = lambda: False) -> tuple[int, int]:
        """Send what is due, a bounded number, until `ended`; (told, failed)."""
        told = failed = 0
        for due in takewhile(lambda _: not ended(), self._book.due(self._settings, now)[:ROUND_MAX]):
            target, notice = self._targets[due.target.name], due.word.notice
            answer = self._post(target.address, *request_of(target, due, now))
            named = f"{due.target.name}: {notice.kind} {notice.id[:12]} revision {notice.revision}"
            self.metrics.delivery(due.target.name, told=answer.taken)
            if answer.taken:
                self._book.delivered(due, now)
                self.untold.discard((due.target.name, notice.id))
                told += 1
                self._say(f"{named}: told, {notice.status}")
                continue
            failed += 1
            self.untold.add((due.target.name, notice.id))
            again = self._book.failed(due, now, answer.why, self._settings, retry_after_seconds=answer.retry_after_seconds)
            self._say(f"{named}: {answer.why}; " + ("tried again later" if again else "given up: cure it, then `trainwatch notify retry`"))
        return told, failed


def request_of(target: Target, due: Due, now: int) -> tuple[dict[str, str], bytes]:
    """Headers and body of one try."""
    notice = due.word.notice
    body = payload(due.target.format, notice, due.word.value, due.known)
    seconds = now // 1000
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"trainwatch/{__version__}",
        "X-Trainwatch-Id": f"{notice.id}-{notice.revision}",  # the same at every try: drop what came before
        "X-Trainwatch-Timestamp": str(seconds),
    }
    if target.key:
        headers["X-Trainwatch-Signature"] = signature(target.key, seconds, body)
    return headers, body


def send_test(settings: NotifySettings, name: str, now: int) -> Answer:
    """Tell one target that this is a test.  Raises ConfigError."""
    targets = targets_of(settings)
    if name not in targets:
        raise ConfigError(f"there is no target {name}", advice=f"Known: {', '.join(targets)}.")
    target = targets[name]
    notice = Notice(
        kind="finding", id="0" * 32, revision=0, status="final", severity="low", alert=False, title="test of trainwatch notify",
        summary="this is a test; nothing was found", about="nothing", owner="", actor="", withheld="this is a test", cause_time=now,
        effect_time=now, detector="",
    )  # fmt: skip
    value = orjson.dumps({"message": notice.summary, "class_uid": 0})  # in the place of a value of the topic
    headers, body = request_of(target, Due(target.settings, Word(notice, value, now, False), Circumstances()), now)
    return webhook.post(target.address, headers, body, timeout_seconds=settings.timeout_seconds)


def epoch_of(headers: Any) -> int:
    """Claim epoch of the producing partition; 0 where the value carries none."""
    found = next((value for name, value in headers or () if name == "tw-epoch"), b"")
    return int(found) if found.isdigit() and len(found) < 10 else 0


def now_ms() -> int:
    """UTC milliseconds."""
    return round(time.time() * 1000)
