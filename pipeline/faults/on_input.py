"""What is done to the input: transactions and holes, duplicates, poison, records deleted before they were read, or before they were read
again; and to the state."""

import signal
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.faults import account, state_v1
from pipeline.faults.on_workers import REPLAYED_AT
from pipeline.faults.run import LOG_CHARACTERS, NotBitten, Run, Stuck
from pipeline.faults.site import wait
from pipeline.faults.worker import POISON
from pipeline.model.instants import HOUR_MS
from pipeline.model.outcome import Record
from pipeline.runtime.app import EXIT_CRASHED
from pipeline.runtime.state_log import LogReader
from pipeline.runtime.worker import TAKE_OVER_STEPS

COMPACTED_SECONDS = 180
POISONED_LIVES_MAX = 8  # until a step is reached: each ends at twice as many facts that raise in a row as the one before
FLOOD = 40  # records, each of which tells a fact at which a stage raises
BROKER_ID = "1"  # of the embedded broker


# --- transactions and holes


def by_transactions(run: Run) -> None:
    """All records by transactions, some of them aborted first."""
    run.transactions = True


def kill_once(run: Run) -> None:
    """A worker dies in the middle of it, with something folded that no state tells of: the next one folds it again."""
    run.dies(run.start(at=run.dice.choice(REPLAYED_AT)))
    run.feed.allow(1.0)


def with_superseded(run: Run) -> None:
    """Every record gets a key of its own, and some stand after a worse one of the same key, which compaction will remove."""
    keyed = [msgspec.structs.replace(record, key=b"k%d" % number) for number, record in enumerate(run.sent)]
    run.sent = run.judged = keyed
    head = len(keyed) // 3
    worse = [msgspec.structs.replace(record, value=b"to be superseded") for record in run.dice.sample(keyed[:head], 300)]
    worse.sort(key=lambda record: record.offset)
    run.seen["superseded"] = len(worse)
    run.fed = sorted([*worse, *keyed], key=lambda record: (record.timestamp, record.value != b"to be superseded"))
    _configure_inputs(run, {"cleanup.policy": "compact", "segment.ms": str(HOUR_MS), "min.cleanable.dirty.ratio": "0.001"})


def compact_then_read(run: Run) -> None:
    """Wait until the broker's cleaner has made holes, then read."""
    run.feed.hurry()
    run.until(lambda: run.feed.sent == len(run.fed), "the input")
    inputs = run.site.settings.kafka.input_topics
    with _eager_cleaner(run):
        for _ in range(COMPACTED_SECONDS):
            left = sum(found.value == b"to be superseded" for found in account.read(run.site.settings, inputs))
            if not left:
                break
            wait(1.0)
        else:
            raise NotBitten(f"{left} superseded records are still there")
    run.seen["holes"] += 1
    _configure_inputs(run, {"cleanup.policy": "delete"})
    kill_once(run)


@contextmanager
def _eager_cleaner(run: Run) -> Iterator[None]:
    """The cleaner looks twice a second; afterwards as seldom as before, since the broker may be shared and have thousands of logs."""
    _configure_broker(run, ("SET", "500"))
    try:
        yield
    finally:
        _configure_broker(run, ("DELETE", None))


def _configure_broker(run: Run, backoff_ms: tuple[str, str | None]) -> None:
    admin: Any = KafkaAdminClient(bootstrap_servers=run.site.settings.kafka.bootstrap_servers.split(","))
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, BROKER_ID, {"log.cleaner.backoff.ms": backoff_ms})])
    finally:
        admin.close()


# --- duplicates and poison


def with_duplicates(run: Run) -> None:
    """One record in eight twice or three times, at once or much later."""
    places: list[tuple[float, Record]] = [(number, record) for number, record in enumerate(run.sent)]
    for number, record in enumerate(run.sent):
        if run.dice.random() < 0.125:
            for _ in range(run.dice.randint(1, 2)):
                again = msgspec.structs.replace(record, partition=run.dice.randrange(run.site.settings.kafka.partitions))
                places.append((number + run.dice.choice((0.5, run.dice.uniform(1, 2000))), again))
                run.seen["duplicates"] += 1
    run.sent = [record for _, record in sorted(places, key=lambda place: place[0])]


BAD: tuple[bytes | None, ...] = (
    b'{"jobid": 7, "state": "FAILED"',
    b'{"jobid": NaN, "state": "FAILED", "exit_code": "1:0"}',
    bytes(range(128, 256)) * 3,
    b"words that no format knows",
    b"",
    b" \n",
    None,
    b"type=SYSCALL msg=audit(1772449500.000:1): " + b"a" * 2_000_000,
    b'{"message":' * 400,
    b"\x00\x01\x02",
)


def with_bad_bytes(run: Run) -> None:
    """Bad values of every kind in the middle of batches; those that are too large are gaps, of which verdicts tell."""
    bad = _insert(run, [run.dice.choice(BAD) for _ in range(200)])
    judged = {id(record) for record in (*run.judged, *bad)}
    run.judged = [record for record in run.sent if id(record) in judged]
    run.seen["bad"] = 200


def with_all_of_it(run: Run) -> None:
    """Transactions, duplicates and bad values; findings are those of the records once each, whatever else is sent."""
    with_duplicates(run)
    with_bad_bytes(run)
    by_transactions(run)


def with_poison(run: Run) -> None:
    """Some records that a step does not bear."""
    _insert(run, [POISON] * 9)


def with_a_flood(run: Run) -> None:
    """Enough of them that a life for each would be too many."""
    _insert(run, [POISON] * FLOOD)


def poisoned_ingest(run: Run) -> None:
    """Ingest raises at some records: they are dead letters, and the worker goes on."""
    run.codes = Counter({"unknown_format": -9, "step_raised": 9})
    run.start(poison="ingest")


def poisoned_jobs(run: Run) -> None:
    """The keyed stage raises at each of a flood of facts: the worker ends; the next takes back what its step does there, and goes on."""
    crashes = 0
    while crashes < 8:
        worker = run.start(poison="jobs")
        run.feed.allow(0.5 + crashes / 10)
        run.until(lambda worker=worker: not worker.alive or (run.site.folded_by(worker) > 3 and _asides(run) > 0), "the crash")  # type: ignore[misc]
        if worker.alive:
            break
        run.ends(worker)
        crashes += 1
    run.seen["crashes"], run.seen["aside"] = crashes, _asides(run)


def poisoned_take_over(run: Run) -> None:
    """Poison in what is recovered: each step of a take-over kills a worker, after a life that had folded some of it and told nobody."""
    steps = [*TAKE_OVER_STEPS]
    run.dice.shuffle(steps)
    for number, step in enumerate(steps, 1):
        run.feed.allow(number / (len(steps) + 1))
        _killed(run, run.dice.choice(REPLAYED_AT))
        _killed(run, step)
        run.seen[step] += 1
    run.feed.allow(1.0)
    for _ in range(POISONED_LIVES_MAX):
        worker = run.start(poison="jobs")
        run.until(lambda worker=worker: not worker.alive or _asides(run) > 0, "a fact that is set aside")  # type: ignore[misc]
        if worker.alive:
            break
        run.ends(worker)
        run.seen["crashes"] += 1
    run.seen["aside"] = _asides(run)


def _killed(run: Run, step: str) -> None:
    """By itself, at this step, in one of the lives that the poison allows."""
    for _ in range(POISONED_LIVES_MAX):
        worker = run.start(poison="jobs", at=step)
        if (code := run.ends(worker)) == -signal.SIGKILL:
            return
        if code != EXIT_CRASHED:
            raise Stuck(f"a poisoned worker ended with code {code}\n{worker.log()[-LOG_CHARACTERS:]}")
        run.seen["crashes"] += 1
    raise Stuck(f"{step} was not reached in {POISONED_LIVES_MAX} lives\n{worker.log()[-LOG_CHARACTERS:]}")


def _asides(run: Run) -> int:
    letters = account.read(run.site.settings, [run.site.topology.public_topic("dead-letter")])
    return sum(dict(letter.headers)["x-dlq-code"] == b"step_raised" for letter in letters)


def _insert(run: Run, values: list[bytes | None]) -> list[Record]:
    """Between the records, in places drawn at random; answers with what they are as records."""
    sent, inserted = list(run.sent), []
    for value in values:
        at = run.dice.randrange(len(sent) // 10, len(sent) - len(sent) // 10)
        there = sent[at]
        inserted.append(msgspec.structs.replace(there, value=value, headers=(), key=b"a key" if value is None else None))
        sent.insert(at, inserted[-1])
    run.sent = sent
    return inserted


# --- retention and old state


def overtaken(run: Run) -> None:
    """The only worker is stopped, or killed; records are deleted before it read them; it is started again."""
    worker = run.start()
    run.folds(worker)
    run.pause(0.3, 1.0)
    run.stop(worker)
    run.feed.allow(0.8)
    run.until(lambda: run.feed.sent >= 0.79 * len(run.fed), "the input")
    delete_unread(run)


def delete_unread(run: Run) -> None:
    """Of what the workers, stopped in order, have not read, some is deleted, as retention does; and all before it."""
    applied = _committed(run)
    ends = account.ends_of(run.site.settings)
    cut = {at: run.dice.randint(applied[at], end) for at, end in ends.items()}
    _delete(run, cut)
    run.gone = {(topic, partition, offset) for (topic, partition), end in cut.items() for offset in range(applied[topic, partition], end)}
    run.deleted = {(topic, partition, offset) for (topic, partition), end in applied.items() for offset in range(end)}
    run.sent = run.judged = _left(run)


def with_a_key(run: Run) -> None:
    """Evidence is kept."""
    run.site.keep_evidence()


def overtaken_behind_a_kill(run: Run) -> None:
    """A worker is killed whose rows have left, or were about to, and no state tells of it; some of these records are deleted.

    Its rows are in and all is published; or they are in under their root, and no range says so; or ClickHouse has let none of them in.
    Facts were told in all cases.
    """
    came_to = run.dice.choice(("published", "rooted", "refused"))
    run.seen[came_to] += 1
    if came_to != "refused":
        run.dies(run.start(at=came_to))
    else:
        worker = run.start()
        run.folds(worker, 4)
        run.through.set("refuse")
        run.through.cut()
        run.feed.allow(0.8)
        run.until(lambda: run.retries() >= run.dice.randint(2, 4), "a retry", of=worker)
        run.kill(worker)
        run.through.set("pass")
    intents = {at: read.meta.intent for at, read in state_of(run).items() if read.meta and read.meta.intent}
    if not intents:
        raise NotBitten("no intent was open")
    cut = {at: run.dice.randint(intent.lo + 1, intent.hi) for at, intent in intents.items()}
    _delete(run, cut)
    again = {(*at, offset) for at, intent in intents.items() for offset in range(intent.lo, cut[at])}
    run.gone = set() if came_to == "published" else again - run.site.stored()  # the letters of what was refused had not left
    run.deleted = {(*at, offset) for at, end in cut.items() for offset in range(end)} - run.gone
    run.seen["again"], run.doubts = len(again), True
    run.sent = _left(run)


def state_of(run: Run) -> dict[tuple[str, int], LogReader]:
    """The state of the inputs, by their partitions."""
    topics = {run.site.topology.state_topic(topic): topic for topic in run.site.settings.kafka.input_topics}
    readers: dict[tuple[str, int], LogReader] = defaultdict(LogReader)
    for record in account.read(run.site.settings, topics, committed=False):
        readers[topics[record.topic], record.partition].take(record.key.decode(), record.value)
    return readers


def _delete(run: Run, cut: Mapping[tuple[str, int], int]) -> None:
    """What lies before these offsets."""
    admin: Any = KafkaAdminClient(bootstrap_servers=run.site.settings.kafka.bootstrap_servers.split(","))
    try:
        admin.delete_records({TopicPartition(*at): offset for at, offset in cut.items()})
    finally:
        admin.close()


def _left(run: Run) -> list[Record]:
    """What was sent and is not gone."""
    gone = {id(record) for record, at in run.feed.placed if at in run.gone}
    return [record for record in run.sent if id(record) not in gone]


def _committed(run: Run) -> dict[tuple[str, int], int]:
    """Offsets after what the stopped worker has finished."""
    reached, kafka = run.site.reached(), run.site.settings.kafka
    parts = [(topic, partition) for topic in kafka.input_topics for partition in range(kafka.partitions)]
    return {part: reached.get(part, 0) for part in parts}


def state_of_an_older_version(run: Run) -> None:
    """The state is replaced by what the first release would have written; the worker goes on from it, and is killed once."""
    worker = run.start()
    run.folds(worker, 4)
    run.pause(0.5, 1.0)
    run.stop(worker)
    run.seen["facts"] = state_v1.rewrite(run.site.settings, run.site.topology)
    run.feed.allow(0.8)
    kill_once(run)


def _configure_inputs(run: Run, config: dict[str, str]) -> None:
    admin: Any = KafkaAdminClient(bootstrap_servers=run.site.settings.kafka.bootstrap_servers.split(","))
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, config) for name in run.site.settings.kafka.input_topics])
    finally:
        admin.close()
