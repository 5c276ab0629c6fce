"""Settings in; what their files, Kafka and ClickHouse say to them out, as `soundness.Line`s.  Everything is asked, nothing is changed.

Rights on Kafka are what the broker itself says this account may do with each topic: trying them would leave traces.  Whose rights it takes
depends on whose account it is: a worker's, when nobody says otherwise.

    settings ──► files, keys, targets          a part that does not answer costs its own lines, never those of the others
             ──► Kafka: brokers, topics, rights, clock
             ──► ClickHouse: version, clock, rights, tables, parts, disk

Holds: no message is sent, no row written, nobody notified; no secret gets into a line.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import GroupIdNotFoundError, KafkaError
from pydantic import BaseModel

from pipeline.errors import ConfigError, TrainwatchError
from pipeline.evidence.signing import load_signer
from pipeline.runtime import soundness
from pipeline.runtime.access import answering, client
from pipeline.runtime.accounts import ACCOUNTS, WORKER, Needs, in_clickhouse, on_kafka
from pipeline.runtime.admin import plan
from pipeline.runtime.consuming import consumer, ends_of
from pipeline.runtime.notices import FINDINGS
from pipeline.runtime.notify import GROUP_SUFFIX
from pipeline.runtime.soundness import Found, Group, Line, Mark, fail, ok, warn
from pipeline.runtime.webhook import address_of, key_of
from pipeline.settings import KafkaSettings, Settings
from pipeline.sink import migrate
from pipeline.sink.clickhouse import Database
from pipeline.sink.rows import BLOCK_TABLES
from pipeline.topology import Topology

SECRET_FILES = ("password_file", "key_password_file", "key_file", "secret_file", "url_file")
NEWEST_MS = 3000  # longest wait for the newest facts
OTHERS_LOOK = {
    "parts": "Dashboards and their alerts do: trainwatch_dashboards, trainwatch_reader.",
    "disk": "Dashboards and their alerts do: trainwatch_dashboards, trainwatch_reader.",
}


def from_error(area: str, what: str, error: TrainwatchError) -> Line:
    """What an error says, as a line."""
    return fail(area, what, str(error), error.advice or "See the message.")


# --- files


def files(settings: Settings, path: Path | None) -> Iterator[Line]:
    """Secrets, keys and targets."""
    if path is not None:
        yield _settings_file(path)
    for name, secret in _secret_files(settings, ""):
        yield _secret_file(name, secret)
    yield _evidence(settings)
    yield from _targets(settings)


def _settings_file(path: Path) -> Line:
    status = path.stat()
    if soundness.secrets_within(yaml.safe_load(path.read_bytes())):
        return soundness.file_mode("settings, with a secret in them", path, status)
    return soundness.settings_mode(path, status)


def _secret_files(part: BaseModel, prefix: str) -> Iterator[tuple[str, Path]]:
    for name, value in part:
        if isinstance(value, BaseModel):
            yield from _secret_files(value, f"{prefix}{name}.")
        elif isinstance(value, tuple):
            for number, each in enumerate(value):
                if isinstance(each, BaseModel):
                    yield from _secret_files(each, f"{prefix}{name}.{number}.")
        elif isinstance(value, Path) and name in SECRET_FILES:
            yield f"{prefix}{name}", value


def _secret_file(name: str, path: Path) -> Line:
    try:
        status = path.stat()
        with path.open("rb") as file:
            empty = not file.readline().strip()
    except OSError as error:
        return fail("files", name, f"{path}: {error.strerror}", "Name a file that this account may read.")
    if empty:
        return fail("files", name, f"{path}: its first line is empty", "Write the secret into its first line.")
    return soundness.file_mode(name, path, status)


def _evidence(settings: Settings) -> Line:
    key_file = settings.evidence.key_file
    if key_file is None:
        advice = "`trainwatch evidence keygen` makes one; evidence.key_file names it."
        return warn("files", "evidence key", "none: nothing is sealed", advice)
    try:
        signer = load_signer(key_file)
    except ConfigError as error:
        return from_error("files", "evidence key", error)
    return ok("files", "evidence key", f"{key_file}, key {signer.key}")


def _targets(settings: Settings) -> Iterator[Line]:
    if not settings.notify.targets:
        yield warn("files", "notify", "nobody is told", "Name webhooks under notify.targets, or read `trainwatch finding list` daily.")
    for target in settings.notify.targets:
        what = f"notify {target.name}"
        try:
            address, key = address_of(target, settings.notify), key_of(target, settings.notify)
        except ConfigError as error:
            yield from_error("files", what, error)
            continue
        how = "https" if address.secure else "http"
        if key:
            yield ok("files", what, f"{how}, signed; not tried: `trainwatch notify test {target.name}` sends")
        else:
            yield warn("files", what, f"{how}, not signed", "Set secret_file: the receiver cannot tell our words from others'.")


# --- Kafka


def kafka(settings: Settings, topology: Topology, now_ms: Callable[[], int], account: str = WORKER) -> Iterator[Line]:
    """The broker, our account on it, and the topics that it needs."""
    what, needs = "address", on_kafka(account, settings, topology)
    try:
        admin = client(KafkaAdminClient, settings.kafka, client_id="trainwatch-check")
        with answering(settings.kafka):
            try:
                yield ok("kafka", "address", f"answers at {settings.kafka.bootstrap_servers}")
                yield from _kafka(admin, settings, topology, needs)
            finally:
                admin.close()
        what = "clock"
        stamped = (topology.facts_topic("jobs"), topology.public_topic(FINDINGS))  # by the broker
        if readable := [topic for topic in stamped if topic in needs.readable()]:
            yield soundness.broker_clock(_newest(settings.kafka, readable[0]), now_ms())
    except TrainwatchError as error:
        yield from_error("kafka", what, error)


def _kafka(admin: Any, settings: Settings, topology: Topology, needs: Needs) -> Iterator[Line]:
    yield soundness.brokers(len(admin.describe_cluster()["brokers"]), settings.kafka.replication_factor)
    there = {str(topic["name"]): topic for topic in admin.describe_topics()}
    wanted = plan(settings.kafka, topology, {name: len(topic["partitions"]) for name, topic in there.items()})
    configs = _configs(admin, [topic.name for topic in wanted if topic.name in there])
    if there and not configs and needs.configs:
        yield Line("kafka", "retention and cleanup", Mark.SKIP, "this account may not ask", "Grant it DESCRIBE_CONFIGS.")
    found = {name: _found(topic, configs.get(name, {})) for name, topic in there.items()}
    group = _group(admin, settings.kafka.group)
    if needed := needs.groups.get(settings.kafka.group):
        counts = {name: found[name].partitions for stage in topology.stages for name in stage.reads if name in found}
        yield soundness.group(group, counts, needed)
    yield from (
        soundness.own_group(name, _group(admin, name), those) for name, those in needs.groups.items() if name != settings.kafka.group
    )
    if settings.notify.targets:
        yield _notifier(admin, settings)
    yield from soundness.topics(wanted, found, group.workers, needs.topics, settings.kafka.bootstrap_servers)


def _found(topic: Any, config: dict[str, str]) -> Found:
    rights = topic.get("authorized_operations")
    return Found(
        partitions=len(topic["partitions"]),
        replicas=min((len(part["replica_nodes"]) for part in topic["partitions"]), default=0),
        leaderless=frozenset(int(part["partition_index"]) for part in topic["partitions"] if int(part["leader_id"]) < 0),
        config=config,
        rights=frozenset(map(str, rights)) if rights else None,
    )


def _configs(admin: Any, topics: list[str]) -> dict[str, dict[str, str]]:
    """Settings by topic; empty where the account may not ask."""
    try:
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics], config_filter="all")
    except KafkaError:
        return {}
    return {
        str(topic): {str(name): str(entry["value"]) for name, entry in entries.items()}
        for by_topic in found.values()
        for topic, entries in by_topic.items()
    }


def _group(admin: Any, group: str) -> Group:
    """Members of the group and what they read; none before the first one."""
    try:
        found = admin.describe_groups([group])[group]
    except (KafkaError, KeyError):
        return Group(asked=False)
    if error := str(found.get("error") or ""):  # which the client tells, and does not raise
        return Group(asked=GroupIdNotFoundError.__name__ in error)
    rights = found.get("authorized_operations")
    return Group(
        workers=len(found["members"]),
        stable=found["group_state"] == "Stable",
        read=frozenset(
            (str(topic["topic"]), int(partition))
            for member in found["members"]
            for topic in (member["member_assignment"] or {}).get("assigned_partitions", ())
            for partition in topic["partitions"]
        ),
        rights=frozenset(map(str, rights)) if rights else None,
    )


def _notifier(admin: Any, settings: Settings) -> Line:
    """Whether somebody is in the notifier's group, and how far it has read."""
    name = settings.kafka.group + GROUP_SUFFIX
    found = _group(admin, name)
    if not found.asked:
        return soundness.notifier(found, None)
    try:
        committed = {part: at.offset for part, at in admin.list_group_offsets(name).get(name, {}).items() if at.offset >= 0}
    except KafkaError:
        return soundness.notifier(msgspec.structs.replace(found, asked=False), None)
    if not committed:
        return soundness.notifier(found, None)
    with consumer(settings.kafka) as reader:
        ends = ends_of(reader, committed)
    return soundness.notifier(found, sum(max(0, ends[part] - at) for part, at in committed.items()))


def _newest(settings: KafkaSettings, topic: str) -> int | None:
    """When the broker stamped the newest value of a topic, UTC ms."""
    with consumer(settings) as found:
        parts = [TopicPartition(topic, number) for number in sorted(found.partitions_for_topic(topic) or ())]
        ends, begins = ends_of(found, parts), ends_of(found, parts, begins=True)
        parts = [part for part in parts if ends[part] > begins[part]]
        if not parts:
            return None
        found.assign(parts)
        for part in parts:
            found.seek(part, ends[part] - 1)
        polled = found.poll(timeout_ms=NEWEST_MS)
    return max((int(record.timestamp) for records in polled.values() for record in records), default=None)


# --- ClickHouse


def clickhouse(settings: Settings, account: str = WORKER) -> Iterator[Line]:
    """The server, our account on it, and all tables."""
    with Database(settings.clickhouse) as database:
        for what, ask in (
            ("address", _answers),
            ("rights", partial(_rights, account)),
            ("migrations", _migrations),
            ("tables", _tables),
            ("parts", _parts),
            ("disk", _disks),
        ):
            try:
                yield from ask(database)
            except TrainwatchError as error:
                if what in OTHERS_LOOK and isinstance(error, ConfigError):
                    yield Line("clickhouse", what, Mark.SKIP, "this account may not look", OTHERS_LOOK[what])
                    continue
                yield from_error("clickhouse", what, error)
                if what in ("address", "migrations"):
                    yield Line("clickhouse", "the rest", Mark.SKIP, "not looked at")
                    return


def _answers(database: Database) -> Iterator[Line]:
    asked = time.time()
    [(text, then, known)] = database.query(
        "SELECT version(), toFloat64(now64(6)), (SELECT count() FROM system.settings WHERE name = 'insert_deduplication_token')"
    )
    answered = time.time()
    yield ok("clickhouse", "address", f"answers at {database.settings.host}:{database.settings.port} as {database.settings.user}")
    yield soundness.version(str(text), bool(known))
    yield soundness.clock(float(then) - (asked + answered) / 2)


def _rights(account: str, database: Database) -> Iterator[Line]:
    """What the account's commands do.  No line is read."""
    lacking = [grant for grant in in_clickhouse(account, database.name) if database.query(f"CHECK GRANT {grant}") != [(1,)]]
    _, role, may = ACCOUNTS[account]
    yield soundness.rights(lacking, database.name, database.settings.user, account, role, may)


def _migrations(database: Database) -> Iterator[Line]:
    migrate.check(database)
    yield ok("clickhouse", "migrations", f"{len(migrate.read_migrations())} applied")


def _tables(database: Database) -> Iterator[Line]:
    sql = "SELECT name, engine_full FROM system.tables WHERE database = '{db}' AND engine LIKE '%MergeTree'"
    engines = {str(name): str(engine) for name, engine in database.query(sql)}
    yield soundness.tables(engines, {table.name for table in BLOCK_TABLES}, migrate.DEDUPLICATION_WINDOW)
    kept = {name: int(days[1]) for name, engine in engines.items() if (days := migrate.RETENTION.search(engine))}
    yield soundness.retention(kept, database.settings)


def _parts(database: Database) -> Iterator[Line]:
    [(most, limit)] = database.query(
        "SELECT (SELECT max(number) FROM (SELECT count() AS number FROM system.parts WHERE active AND database = '{db}'"
        " GROUP BY table, partition_id)), (SELECT toUInt64(value) FROM system.merge_tree_settings WHERE name = 'parts_to_throw_insert')"
    )
    yield soundness.parts(int(most or 0), int(limit))


def _disks(database: Database) -> Iterator[Line]:
    found = database.query("SELECT name, free_space, total_space FROM system.disks WHERE total_space > 0")
    yield from soundness.disks((str(name), int(free), int(total)) for name, free, total in found)
