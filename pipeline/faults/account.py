"""What the topics hold and what came out of the workers in; what was lost, doubled or judged otherwise, out.

    Kafka, read by a plain consumer     every committed record of the inputs
    ClickHouse                          rows of `events`, listed offsets of `sink_ranges`, findings, verdicts
    the dead-letter topic               what was refused
    memory                              the same records through `LocalRuntime`: what should have come out

Offsets are compared one by one here, and once more by `trainwatch verify`, which knows Kafka's first and last offsets only.

Holds: nothing is asked of the workers; a difference is named, with the first offsets or ids.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson
from kafka import KafkaConsumer, TopicPartition

from pipeline.faults.site import PARTITIONS, Site
from pipeline.ingest.step import FINAL_HEADER
from pipeline.model.outcome import EventRow, Record
from pipeline.runtime import consuming
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.settings import Settings
from pipeline.sink.verify import FILTERED

FED_AT_ONCE = 2000
NAMED_MAX = 5
FORK = "EVIDENCE FORK"  # a worker's log, where Kafka gives other records than were sealed
CONTROL = "control"

At = tuple[str, int, int]  # topic, partition, offset


class Account(msgspec.Struct, kw_only=True):
    """One run, compared.  It is right when `wrong` is empty."""

    records: int = 0
    lost: int = 0  # offsets neither stored nor listed, letters that were not sent
    doubled: int = 0  # rows beyond the first of one (offset, index)
    findings: int = 0
    findings_equal: bool = True
    verdicts_equal: bool = True
    incidents_equal: bool | None = None  # None: they follow from other findings, where records are gone, and are not compared
    owned_up: int = 0  # bodies that say of more sources that they are missing, where records were lost
    holes: int = 0  # offsets that hold no committed record
    wrong: list[str] = []


def expected(settings: Settings, records: Sequence[Record]) -> Results:
    """What the same records give in memory."""
    local = LocalRuntime(settings, PARTITIONS, keep_rows=True)
    for at in range(0, len(records), FED_AT_ONCE):
        local.feed(records[at : at + FED_AT_ONCE])
        local.checkpoint()
    return local.finish()


def read(settings: Settings, topics: Iterable[str], *, committed: bool = True) -> list[Any]:
    """All records of the topics, as a client sees them."""
    consumer: Any = KafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap_servers.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if committed else "read_uncommitted",
        max_poll_records=20_000,
    )
    try:
        parts = [TopicPartition(topic, number) for topic in topics for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consuming.ends_of(consumer, parts)
        records: list[Any] = []
        while any(consumer.position(part) < end for part, end in ends.items()):
            for found in consumer.poll(timeout_ms=500).values():
                records += found
    finally:
        consumer.close()
    return records


def take(
    site: Site,
    sent: Sequence[Record],
    judged: Sequence[Record],
    *,
    codes: Counter[str],
    gone: frozenset[At],
    deleted: frozenset[At],
    doubts: bool = False,
) -> Account:
    """Compare.

    `sent` went to Kafka and was not `gone`, deleted before it was read; `deleted` was read before.  Findings must follow from `judged`,
    which may be less, say without duplicates.  `codes` are listed by the fault's doing.  `doubts`: a body may say that something is
    missing although nothing is.
    """
    account = Account(wrong=[])
    inputs = site.settings.kafka.input_topics
    there = read(site.settings, inputs)
    ends = sum(any(name == FINAL_HEADER for name, _ in each.headers) for each in there)
    account.records = len(there)
    listed = _offsets(site, account, {(each.topic, each.partition, each.offset) for each in there}, deleted)
    _dead_letters(site, account, listed)
    _verify(site, account, gone)
    if site.settings.evidence.key_file is not None:
        _evidence(site, account)
    should = expected(site.settings, sent)
    _judgements(site, account, should if judged is sent else expected(site.settings, judged), gaps=doubts or bool(gone))
    fed = with_repeats(there, sent)
    _outcomes(site, account, should if len(fed) == len(sent) else expected(site.settings, fed), listed, codes, ends)
    return account


def with_repeats(there: Iterable[Any], sent: Sequence[Record]) -> list[Record]:
    """What was sent, each record as often as the topics hold it, if that is more.

    A producer whose broker was killed before it answered sends again; where the broker that came back does not know it, an idempotent one
    leaves a batch twice, too.  Whatever the topics hold has to be in the tables.
    """
    more = Counter(map(_content, there)) - Counter(map(_content, sent))
    return [again for record in sent for again in [record] * (1 + more.pop(_content(record), 0))]


def _content(record: Any) -> tuple[Any, ...]:
    return record.topic, record.partition % PARTITIONS, record.timestamp, record.key, record.value


def _offsets(site: Site, account: Account, there: set[At], deleted: frozenset[At]) -> dict[At, str]:
    """Every offset is stored or listed; answers with the listed ones and their codes."""
    query = site.database.query
    stored = site.stored()
    listed = {
        (topic, partition, offset): str(code)
        for topic, partition, offset, code in query(
            "SELECT DISTINCT topic, partition, offset, code FROM {db}.sink_ranges "
            "ARRAY JOIN listed_offsets AS offset, listed_codes AS code WHERE topic IN %(inputs)s",
            {"inputs": site.settings.kafka.input_topics},
        )
    }
    _count(account, "lost", "offsets neither stored nor listed", there - stored - listed.keys())
    _name(account, "offsets stored although listed", stored & listed.keys())
    _name(account, "offsets stored or listed that hold no committed record", (stored | listed.keys()) - there - deleted)
    twice = query(
        "SELECT _topic, _partition, _offset, count() - 1 FROM {db}.events GROUP BY _topic, _partition, _offset, _index HAVING count() > 1"
    )
    account.doubled += sum(more for *_, more in twice)
    _name(account, "rows stored more than once", {(topic, partition, offset) for topic, partition, offset, _ in twice})
    return listed


def _dead_letters(site: Site, account: Account, listed: dict[At, str]) -> None:
    """What was refused was sent where somebody can look at it."""
    letters: set[At] = set()
    for found in read(site.settings, [site.topology.public_topic("dead-letter")]):
        headers = dict(found.headers)
        letters.add((headers["x-dlq-topic"].decode(), int(headers["x-dlq-partition"]), int(headers["x-dlq-offset"])))
    refused = {at for at, code in listed.items() if code not in FILTERED}
    _count(account, "lost", "dead letters that were not sent", refused - letters)
    _name(
        account,
        "dead letters of records that were not refused",
        {at for at in letters - refused if at[0] in site.settings.kafka.input_topics},
    )


def _verify(site: Site, account: Account, gone: frozenset[At]) -> None:
    """The product's own command must agree, and tell of what was deleted before it was read."""
    told = site.command("verify", "--json", "--caught-up")
    try:
        accounts = msgspec.json.decode(told.stdout)["partitions"]
    except (msgspec.MsgspecError, KeyError):
        account.wrong.append(f"verify ended with code {told.returncode}: {told.stderr.decode(errors='replace')[-1000:]}")
        return
    account.holes = sum(each["holes"] for each in accounts)
    lost = Counter((topic, partition) for topic, partition, _ in gone)
    for each in accounts:
        here = lost[each["topic"], each["partition"]]
        name, violations = f"{each['topic']}/{each['partition']}", " ".join(each["violations"])
        if each["overtaken"] != here:
            account.wrong.append(f"verify: {name}: {each['overtaken']} offsets overtaken instead of {here}; {violations}")
        if violations and not here:
            account.wrong.append(f"verify: {name}: {violations}")
        if each["pending"] or each["in_flight"]:
            account.wrong.append(f"verify: {name}: {each['pending']} records were not read, {each['in_flight']} not committed")


def _evidence(site: Site, account: Account) -> None:
    """One chain, and each stored line under a root."""
    told = site.command("evidence", "verify", "--json")
    try:
        problems = msgspec.json.decode(told.stdout)["problems"]
    except (msgspec.MsgspecError, KeyError):
        problems = [f"ended with code {told.returncode}: {told.stderr.decode(errors='replace')[-1000:]}"]
    account.wrong += [f"evidence verify: {problem}" for problem in problems[:NAMED_MAX]]
    if FORK in site.logs():
        account.wrong.append("a worker took it for a fork")


def ends_of(settings: Settings) -> dict[tuple[str, int], int]:
    """The offset after the last of each input partition."""
    consumer: Any = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","), enable_auto_commit=False)
    try:
        topics = settings.kafka.input_topics
        parts = [TopicPartition(topic, number) for topic in topics for number in sorted(consumer.partitions_for_topic(topic) or ())]
        return {(part.topic, part.partition): end for part, end in consuming.ends_of(consumer, parts).items()}
    finally:
        consumer.close()


def _judgements(site: Site, account: Account, should: Results, *, gaps: bool) -> None:
    """The same findings, verdicts and incidents, body for body.

    But where records were lost, a body may own up to it by what it says is missing; a verdict then follows from such a finding, which is
    no alert, and incidents follow from other findings.
    """
    kinds = {"findings": ("finding_id", should.canonical_findings()), "verdicts": ("verdict_id", should.canonical_verdicts())}
    if not gaps:
        kinds["incidents"] = ("incident_id", should.canonical_incidents())
    doubtful: frozenset[str] = frozenset()  # findings that own up
    for name, (column, expected_bodies) in kinds.items():
        found = {
            key: orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
            for key, body in site.database.query(f"SELECT {column}, canonical FROM {{db}}.{name}_current WHERE status != 'retracted'")  # noqa: S608  names from above
        }
        differ = {key for key in found.keys() | expected_bodies.keys() if found.get(key) != expected_bodies.get(key)}
        if gaps:
            owning_up = {
                key for key in differ if _owns_up(found.get(key), expected_bodies.get(key)) or follows_from(found.get(key), doubtful)
            }
            doubtful |= owning_up
            account.owned_up += len(owning_up)
            differ -= owning_up
        setattr(account, f"{name}_equal", not differ)
        if name == "findings":
            account.findings = len(expected_bodies)
        for key in sorted(differ)[:NAMED_MAX]:
            account.wrong.append(f"{name}: {key}: {_text(found.get(key))} instead of {_text(expected_bodies.get(key))}")


def follows_from(verdict: bytes | None, doubtful: frozenset[str]) -> bool:
    """Is it on an attempt with one of these findings?"""
    return verdict is not None and not doubtful.isdisjoint(orjson.loads(verdict).get("findings", ()))


def _owns_up(body: bytes | None, without_gaps: bytes | None) -> bool:
    """Does it say of more sources that they are missing, and is it of the same subject by its id?"""
    if body is None or without_gaps is None:
        return False
    return _missing(orjson.loads(body)) > _missing(orjson.loads(without_gaps))


def _missing(body: Any) -> set[str]:
    """All that stands in lists named `missing`, at any depth."""
    if isinstance(body, list):
        return set().union(*map(_missing, body))
    if isinstance(body, dict):
        own = set(map(str, body.get("missing") or ()))
        return own.union(*(_missing(value) for name, value in body.items() if name != "missing"))
    return set()


def _outcomes(site: Site, account: Account, should: Results, listed: dict[At, str], codes: Counter[str], ends: int) -> None:
    """As many rows, and as many records of each code, as in memory."""
    inputs = site.settings.kafka.input_topics
    there = Counter(listed.values())
    wanted = Counter(code for source, _, code in should.listed if source.rpartition("/")[0] in inputs) + Counter({CONTROL: ends})
    wanted.update(codes)
    if +there != +wanted:
        account.wrong.append(f"codes {dict(sorted(there.items()))} instead of {dict(sorted(wanted.items()))}")
    rows = site.database.query("SELECT uniqExact(_topic, _partition, _offset, _index) FROM {db}.events")[0][0]
    rows_wanted = sum(isinstance(row, EventRow) for row in should.rows)
    if rows != rows_wanted:
        account.wrong.append(f"{rows} rows of events instead of {rows_wanted}")


def _text(body: bytes | None) -> str:
    return "nothing" if body is None else body.decode()[:1500]


def _count(account: Account, field: str, what: str, offsets: set[At]) -> None:
    setattr(account, field, getattr(account, field) + len(offsets))
    _name(account, what, offsets)


def _name(account: Account, what: str, offsets: set[At]) -> None:
    if offsets:
        named = ", ".join(f"{topic}/{partition}@{offset}" for topic, partition, offset in sorted(offsets)[:NAMED_MAX])
        account.wrong.append(f"{len(offsets)} {what}: {named}")
