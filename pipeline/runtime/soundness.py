"""What was found at Kafka, ClickHouse and in the files of a site in; lines that say whether it will hold, and how to mend it, out.

Pure: `examine.py` asks the living systems, this module judges, and a test gives it any answer without a server.

    ok     it holds                            fail   a worker would stop, lose or withhold something: `trainwatch check` exits 1
    warn   it works, and will hurt one day     skip   it could not be looked at, because something before it failed

Holds: each fail and each warn has an advice; no line has a secret in it, since it is given none.
"""

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from re import _parser  # type: ignore[attr-defined]  # what `re` itself makes of a pattern, since 3.11
from typing import Any

import msgspec

from pipeline.detect.site import require_known_detectors
from pipeline.errors import ConfigError
from pipeline.model.instants import DAY_MS
from pipeline.model.words import many
from pipeline.runtime.admin import Topic
from pipeline.settings import AllowedSettings, ClickHouseSettings, Settings, SourceSettings, SuppressionSettings, others_may

SKEW_SECONDS_MAX = 5.0  # clocks of servers that are kept by NTP differ by milliseconds
INPUT_DAYS_MIN = 3  # a long weekend without anybody
AHEAD_MS_MAX, AHEAD_MS = DAY_MS, 3_600_000  # that a record's time may lie before the broker's; what Kafka sets by itself since 4.0
FACTS_BYTES_MIN = 1_000_000  # `producer.VALUE_BYTES_MAX` and its frame
AHEAD, AROUND = "message.timestamp.after.max.ms", "message.timestamp.difference.max.ms"
UNBOUNDED = 2**63 - 1
PARTITIONS_PER_WORKER = 4
BEHIND_MAX = 1000  # values that a notifier has not taken: minutes of it
DISK_FREE_WARN, DISK_FREE_FAIL = 0.2, 0.1
PARTS_WARN = 0.5  # of the number at which inserts are refused
TESTED_CLICKHOUSE = (26, 7)
PRICE_DAYS_MAX = 400
EXCUSE_DAYS_MIN, EXCUSE_DAYS_MAX = 7, 400  # it ends so soon that somebody must look; so late that nobody will
SECRETS_IN_FILE = frozenset({"password", "key_password", "url", "urls", "secrets"})
GRAVE = {"cleanup.policy", "message.timestamp.type"}  # wrong, they lose or reorder what was told


class Mark(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Line(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    area: str  # settings | files | kafka | clickhouse
    what: str
    mark: Mark
    found: str
    advice: str = ""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A topic on the broker."""

    partitions: int
    replicas: int
    leaderless: frozenset[int] = frozenset()  # partitions that nobody can read or write now
    config: Mapping[str, str] = {}  # empty: the account may not ask
    rights: frozenset[str] | None = None  # None: the broker does not tell


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The consumer group of the workers."""

    asked: bool = True  # the broker answered
    workers: int = 0
    stable: bool = True
    read: frozenset[tuple[str, int]] = frozenset()
    rights: frozenset[str] | None = None


def ok(area: str, what: str, found: str) -> Line:
    return Line(area, what, Mark.OK, found)


def warn(area: str, what: str, found: str, advice: str) -> Line:
    return Line(area, what, Mark.WARN, found, advice)


def fail(area: str, what: str, found: str, advice: str) -> Line:
    return Line(area, what, Mark.FAIL, found, advice)


# --- files


def file_mode(what: str, path: Path, status: os.stat_result) -> Line:
    """A file that holds a secret, by the rule by which whoever uses it refuses it."""
    shown = f"{path} {stat.S_IMODE(status.st_mode):04o}"
    if others_may(status):
        advice = f"chmod 600 {path}; if somebody may have read it, change the secret."
        return fail("files", what, f"{shown}: others may read or change it", advice)
    return ok("files", what, shown)


def settings_mode(path: Path, status: os.stat_result) -> Line:
    """Settings without a secret: they tell what raises no alert, which whoever may be found must not know, nor change."""
    shown = f"{path} {stat.S_IMODE(status.st_mode):04o}, no secret in it"
    if status.st_mode & stat.S_IWOTH:
        return fail("files", "settings", f"{shown}: everybody may change it", f"chmod o= {path}; see whether anybody has changed it.")
    if status.st_mode & stat.S_IROTH:
        advice = f"chmod o= {path}: windows, suppressions and allow-lists tell a colleague what goes unseen."
        return warn("files", "settings", f"{shown}: everybody on this machine may read it", advice)
    return ok("files", "settings", shown)


def secrets_within(content: object) -> bool:
    """Does a settings file hold a secret itself?"""
    if isinstance(content, Mapping):
        return any((key in SECRETS_IN_FILE and bool(value)) or secrets_within(value) for key, value in content.items())
    return isinstance(content, list) and any(map(secrets_within, content))


# --- settings


def references(settings: Settings) -> list[Line]:
    """Identities that roots, tickets and suppressions speak of, and people who can be told apart at all."""
    known = {entry.id for entry in settings.identities}
    named = {(f"artefact_roots {root.path}", name) for root in settings.artefact_roots for name in (root.owner, *root.writers) if name}
    named |= {(f"suppression {each.about}", each.owner) for each in settings.detect.suppressions if each.owner}
    named |= {(f"ticket {ticket.id}", name) for ticket in settings.tickets for name in ticket.identities}
    stray = sorted((where, name) for where, name in named if name not in known)
    lines = []
    if not known:
        advice = "List people and service accounts under `identities`; names of logs stay apart until then, and few findings name anybody."
        lines.append(warn("settings", "identities", "none", advice))
    elif stray:
        shown = ", ".join(f"{name} ({where})" for where, name in stray[:5])
        lines.append(fail("settings", "identities", f"{len(stray)} that nobody has: {shown}", "Add the identity, or correct the name."))
    else:
        lines.append(ok("settings", "identities", f"{len(known)}, all names of roots, tickets and suppressions are known"))
    return lines


def clusters(settings: Settings) -> Iterator[Line]:
    """Clusters that identities, tickets and suppressions speak of and no source has: they would hold for nothing."""
    known = {SourceSettings(name="any").cluster, *(source.cluster for source in settings.sources)}
    named = [(f"suppression {each.about}", each.cluster) for each in settings.detect.suppressions]
    named += [(f"ticket {ticket.id}", ticket.cluster) for ticket in settings.tickets]
    named += [(f"identity {entry.id}", cluster) for entry in settings.identities for cluster in entry.clusters]
    if stray := [f"{cluster} ({where})" for where, cluster in named if cluster and cluster not in known]:
        advice = "Correct the name, or give the sources of that cluster their `cluster`."
        yield fail("settings", "clusters", f"{len(stray)} that no source has: {', '.join(stray[:5])}", advice)


def patterns(settings: Settings) -> Iterator[Line]:
    """Expressions for which a name can be made that takes hours: who runs a job chooses where it prints."""
    for source in settings.sources:
        for field in ("file", "hosts", "job_pattern"):
            pattern = getattr(source, field)
            if _repeats_within(_parser.parse(pattern)):
                advice = "A name made for it may keep the worker busy for hours: write it without that repeat, say [^/]+/ for .*/."
                yield warn("settings", f"source {source.name} {field}", f"{pattern}: a repeat within a repeat", advice)


def _repeats_within(parsed: Any, *, within: bool = False) -> bool:
    """Of what `re` made of a pattern: does a part that repeats without an end hold another?"""
    if isinstance(parsed, tuple) and len(parsed) == 2 and parsed[0] in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
        _, most, body = parsed[1]
        endless = most is _parser.MAXREPEAT
        return (endless and within) or _repeats_within(body, within=within or endless)
    inner = parsed if isinstance(parsed, list | tuple | _parser.SubPattern) else ()
    return any(_repeats_within(each, within=within) for each in inner)


def unreadable(settings: Settings) -> Line:
    """Does a worker end when it can read nothing any more?"""
    if hosts := settings.ingest.failing_hosts:
        return ok("settings", "ingest.failing_hosts", f"a worker ends when it can read {hosts} hosts, and half of all, no more")
    advice = "Set it back to 3 when what went wrong is mended: all evidence of a day may become dead letters meanwhile."
    return warn("settings", "ingest.failing_hosts", "0: a worker goes on also when it can read nothing any more", advice)


def prices(settings: Settings, now_ms: int) -> Line:
    """Is there a price that holds today?"""
    begun = [price.since_ms for price in settings.loss.prices if price.since_ms <= now_ms]
    if not settings.loss.prices:
        return ok("settings", "prices", "none: losses are told in GPU-hours")
    if not begun:
        return warn("settings", "prices", "all begin in the future", "Add an entry to loss.prices that begins before today.")
    age = (now_ms - max(begun)) // DAY_MS
    if age > PRICE_DAYS_MAX:
        return warn(
            "settings", "prices", f"the one in force is {many(age, 'day')} old", "Look whether loss.prices still holds, and add an entry."
        )
    return ok("settings", "prices", f"{len(settings.loss.prices)}, the one in force is {many(age, 'day')} old")


def excuses(settings: Settings, now_ms: int) -> Iterator[Line]:
    """What the site puts up with, each with its reason, and whether somebody should look at it again."""
    try:
        require_known_detectors(settings)
    except ConfigError as error:
        yield fail("settings", "suppressions", str(error), error.advice)
    detect = settings.detect
    for each in detect.suppressions:
        telemetry = "; it may hide that recording was switched off" if each.detector.startswith("p18_") else ""
        yield _excuse(f"suppression {each.about}", each, now_ms, telemetry)
    for name in ("roaming_networks", "pickle_globals_allowed", "child_programs_allowed", "hooks_allowed", "hook_names_known"):
        for entry in getattr(detect, name):
            if isinstance(entry, AllowedSettings):
                yield _excuse(f"detect.{name} {entry.value}", entry, now_ms)


def _excuse(what: str, entry: SuppressionSettings | AllowedSettings, now_ms: int, telemetry: str = "") -> Line:
    found, days = f"until {entry.until_text}: {entry.because}{telemetry}", (entry.until_ms - now_ms) / DAY_MS
    if days <= 0:
        advice = "It has ended. Leave it while records from before are judged anew, then delete it, or renew it with its reason."
        return warn("settings", what, found, advice)
    if days <= EXCUSE_DAYS_MIN:
        return warn("settings", what, found, f"It ends in {days:.1f} days: see whether the reason still holds.")
    if days > EXCUSE_DAYS_MAX:
        return warn("settings", what, found, "That is more than a year: choose an end at which somebody looks at it again.")
    if telemetry:
        return warn("settings", what, found, "Have two people agree on it, and look at the host meanwhile.")
    return ok("settings", what, found)


# --- Kafka


def brokers(count: int, factor: int) -> Line:
    """Can topics be made as the settings want them?"""
    if factor > count:
        return fail("kafka", "brokers", f"{count}", f"kafka.replication_factor is {factor}: lower it, or start brokers.")
    if factor == 1 and count > 1:
        advice = "Set kafka.replication_factor to 3 before topics are made: with one replica a dead disk takes state with it."
        return warn("kafka", "brokers", f"{count}, and kafka.replication_factor is 1", advice)
    return ok("kafka", "brokers", f"{count}")


def group(found: Group, counts: Mapping[str, int], needed: frozenset[str]) -> Line:
    """Is somebody there to read each partition, and may we as `needed` says?"""
    if found.rights is not None and (missing := needed - found.rights):
        return fail(
            "kafka",
            "group",
            f"this account may not {', '.join(sorted(missing))} it",
            "`trainwatch topics acl` lists what the account needs: have it granted.",
        )
    if not found.asked:
        return Line("kafka", "group", Mark.SKIP, "this account may not ask, or the broker cannot tell yet")
    if not found.workers:
        return warn("kafka", "group", "no worker is in it", "Start `trainwatch worker`, one a core.")
    unread = sorted({(name, number) for name, count in counts.items() for number in range(count)} - found.read)
    if unread and found.stable:
        shown = ", ".join(f"{name}/{number}" for name, number in unread[:3])
        advice = (
            "If a topic has just grown, wait: workers look for it every few seconds. Otherwise stop all workers, wait "
            "kafka.session_timeout_seconds, start them: deploy/runbooks/partition-growth.md."
        )
        return fail("kafka", "group", f"nobody reads {many(len(unread), 'partition')}: {shown}", advice)
    state = "" if found.stable else ", which share the partitions anew just now"
    return ok("kafka", "group", f"{many(found.workers, 'worker')}{state}")


def own_group(name: str, found: Group, needed: frozenset[str]) -> Line:
    """A group in which nobody but this account's command is."""
    what = f"group {name}"
    if not found.asked or (found.rights is not None and needed - found.rights):
        shown = f"this account may not {', '.join(sorted(needed))} it, or the broker cannot tell yet"
        return fail("kafka", what, shown, "`trainwatch topics acl` lists what the account needs: have it granted.")
    return ok("kafka", what, many(found.workers, "member"))


def notifier(found: Group, behind: int | None) -> Line:
    """Does somebody tell people?  `behind`: values that it has not taken; None: it never has."""
    what = "notifier"
    if not found.asked:
        return Line("kafka", what, Mark.SKIP, "this account may not ask for its group; `check --as notifier` may")
    if behind is None:
        return warn("kafka", what, "none has run", "Start `trainwatch notify` on one machine: nobody is told.")
    shown = f"{many(behind, 'value')} behind"
    if not found.workers:
        return warn("kafka", what, f"none runs, {shown}", "Start `trainwatch notify` on one machine, or let cron run it with --once.")
    if found.workers > 1:
        return warn("kafka", what, f"{found.workers} run, {shown}", "Run one for a site: what was told stands in the file of each.")
    if behind > BEHIND_MAX:
        return warn("kafka", what, f"it runs, {shown}", "Look at its log: deploy/runbooks/TrainwatchNotifierDown.md.")
    return ok("kafka", what, f"it runs, {shown}")


def topics(
    wanted: Sequence[Topic], found: Mapping[str, Found], workers: int, needed: Mapping[str, frozenset[str]], address: str
) -> list[Line]:
    """Each topic of the plan that `needed` names: there, with its partitions, kept as it must be, and ours to use as that says.

    `address`: of the broker, so that what is advised can be typed as it stands.
    """
    ours = [topic for topic in wanted if topic.name in needed]
    return [_topic(topic, found.get(topic.name), workers, needed[topic.name], address) for topic in ours]


def _topic(topic: Topic, found: Found | None, workers: int, needed: frozenset[str], address: str) -> Line:
    what = f"{topic.role} {topic.name}"
    if found is None:
        return fail("kafka", what, "does not exist, or may not be seen", "`trainwatch topics create` makes it; `topics acl` lists rights.")
    shown = many(found.partitions, "partition")
    if topic.role == "state" and found.partitions != topic.partitions:
        advice = "deploy/runbooks/partition-growth.md: the state topic of an input grows with it; facts topics never grow."
        return fail("kafka", what, f"{shown}, what it is of has {topic.partitions}", advice)
    if found.leaderless:
        shown = f"{shown}, without a leader: {', '.join(map(str, sorted(found.leaderless)))}"
        return fail("kafka", what, shown, "Bring the brokers back that have its replicas: workers stop at it, and lose nothing.")
    if found.rights is not None and (missing := needed - found.rights):
        advice = "`trainwatch topics acl` lists what the account needs: have it granted."
        return fail("kafka", what, f"this account may not {', '.join(sorted(missing))}", advice)
    if other := {name: value for name, value in topic.config.items() if _differs(name, value, found.config)}:
        shown = "; ".join(f"{name}={found.config[name]}, not {value}" for name, value in other.items())
        values = ",".join(f"{name}={value}" for name, value in other.items())
        return (fail if other.keys() & GRAVE else warn)("kafka", what, shown, _altered(topic, values, address))
    if topic.role in ("facts", "state") and 0 <= int(found.config.get("max.message.bytes", -1)) < FACTS_BYTES_MIN:
        size = found.config["max.message.bytes"]
        return fail("kafka", what, f"max.message.bytes={size}", f"Set it to {FACTS_BYTES_MIN + 48_576}: larger facts stop the worker.")
    return _kept(topic, found, workers, what, shown, address)


def _altered(topic: Topic, values: str, address: str) -> str:
    """What to type; `values`: NAME=VALUE, ..."""
    return f"kafka-configs.sh --bootstrap-server {address} --alter --entity-type topics --entity-name {topic.name} --add-config {values}"


def _kept(topic: Topic, found: Found, workers: int, what: str, shown: str, address: str) -> Line:
    """Inputs belong to the site: what is odd about them is told."""
    if topic.role == "input":
        keeps = int(found.config.get("retention.ms", -1))
        if 0 < keeps < INPUT_DAYS_MIN * DAY_MS:
            advice = f"Raise retention.ms to {INPUT_DAYS_MIN * DAY_MS} or more: what is deleted unread is lost."
            return warn("kafka", what, f"{shown}, kept for {keeps / DAY_MS:.1f} days", advice)
        if "compact" in found.config.get("cleanup.policy", ""):
            return fail("kafka", what, "cleanup.policy=compact", "Set cleanup.policy=delete: compaction deletes unread lines.")
        if workers and found.partitions < workers:
            advice = "Some workers have nothing to read of it. deploy/runbooks/partition-growth.md says how it grows."
            return warn("kafka", what, f"{shown} for {many(workers, 'worker')}; {PARTITIONS_PER_WORKER} for each are good", advice)
        if _may_be_ahead(found.config):
            # A bound both ways, which is all that brokers before 3.6 have, would refuse what a shipper sends after a long outage.
            value = f"{AHEAD}={AHEAD_MS}" if AHEAD in found.config else "message.timestamp.type=LogAppendTime"
            advice = f"{_altered(topic, value, address)}: else a record from the future closes windows early."
            return warn("kafka", what, f"{shown}; senders write its times, and no {AHEAD} bounds them", advice)
    if found.replicas == 1 and topic.role != "input":
        return ok("kafka", what, f"{shown}, one replica")
    return ok("kafka", what, shown)


def _may_be_ahead(config: Mapping[str, str]) -> bool:
    """May a sender's time lie as far ahead as he likes?  The bound both ways counts where the other is not set; one may not be asked."""
    bounds = [int(config[name]) for name in (AHEAD, AROUND) if name in config]
    bound = next((each for each in bounds if each < UNBOUNDED), UNBOUNDED if bounds else 0)
    return config.get("message.timestamp.type") == "CreateTime" and bound > AHEAD_MS_MAX


def _differs(name: str, value: str, config: Mapping[str, str]) -> bool:
    """Longer kept is no fault; what the account may not see is none either."""
    if name not in config:
        return False
    if name in ("retention.ms", "min.compaction.lag.ms"):
        found = int(config[name])
        return 0 <= found < int(value)
    return name in GRAVE and config[name] != value


def broker_clock(newest_ms: int | None, now_ms: int) -> Line:
    """The broker tells no time; what it stamped last must not be ahead of us.  Behind shows only while workers write."""
    if newest_ms is None:
        return Line("kafka", "clock", Mark.SKIP, "no facts yet, which are stamped by the broker")
    ahead = (newest_ms - now_ms) / 1000
    if ahead > SKEW_SECONDS_MAX:
        return fail("kafka", "clock", f"the broker is {ahead:.0f} s ahead of this machine", "Set both clocks by NTP.")
    return ok("kafka", "clock", f"not ahead; it stamped the newest fact {-ahead:.0f} s ago")


# --- ClickHouse


def version(text: str, settings_there: bool) -> Line:
    """Decided by what it can do; a release that nobody tried is told."""
    if not settings_there:
        advice = "It does not know insert_deduplication_token: rows would double after a crash. Use a newer one."
        return fail("clickhouse", "version", text, advice)
    numbers = [int(part) for part in text.split(".")[:2] if part.isdigit()]
    if tuple(numbers) != TESTED_CLICKHOUSE:
        tested = ".".join(map(str, TESTED_CLICKHOUSE))
        return warn("clickhouse", "version", text, f"Tests run on {tested}. Try it on a copy first: `trainwatch verify` after an hour.")
    return ok("clickhouse", "version", text)


def clock(seconds_ahead: float) -> Line:
    """Of ClickHouse, over the middle of question and answer."""
    if abs(seconds_ahead) > SKEW_SECONDS_MAX:
        advice = "Set both clocks by NTP: retention and alerts go by the server's."
        return fail("clickhouse", "clock", f"{seconds_ahead:+.1f} s from this machine", advice)
    return ok("clickhouse", "clock", f"{abs(seconds_ahead):.1f} s from this machine")


def rights(lacking: Sequence[str], database: str, user: str, account: str, role: str, may: str) -> Line:
    """`lacking`: grants that the account needs, and this user has not.  `may`: what they are for."""
    if not lacking:
        return ok("clickhouse", "rights", f"{user} may {may} in {database}")
    more = f", and {len(lacking) - 2} more" if len(lacking) > 2 else ""
    advice = (
        f"Give it the role trainwatch_{role} of deploy/sql/roles.sql: no more is needed. `check` asked as {account}: `--as` says for whom."
    )
    return fail("clickhouse", "rights", f"{user} may not {'; '.join(lacking[:2])}{more}", advice)


def tables(engines: Mapping[str, str], needing: Collection[str], window: int) -> Line:
    """Do the tables of records remember the blocks that they got?  Without it a repeated insert doubles rows."""
    short = [
        name
        for name in sorted(needing & engines.keys())
        if "Replicated" not in engines[name] and f"non_replicated_deduplication_window = {window}" not in engines[name]
    ]
    if short:
        advice = f"ALTER TABLE ... MODIFY SETTING non_replicated_deduplication_window = {window}: a repeated insert would double rows."
        return fail("clickhouse", "deduplication", f"{', '.join(short)} remember fewer blocks", advice)
    return ok("clickhouse", "deduplication", f"{window:,} blocks are remembered, by {many(len(needing & engines.keys()), 'table')}")


def retention(days: Mapping[str, int], settings: ClickHouseSettings) -> Line:
    """Does the server delete when the settings say?"""
    if other := {name: found for name, found in days.items() if found != settings.kept_days(name)}:
        shown = ", ".join(f"{name} {found} d, settings say {settings.kept_days(name)} d" for name, found in sorted(other.items())[:3])
        return warn("clickhouse", "retention", shown, "`trainwatch migrate up` sets it.")
    others = f", but for {many(len(settings.retention_days_by_table), 'table')}" if settings.retention_days_by_table else ""
    return ok("clickhouse", "retention", f"{many(settings.retention_days, 'day')}{others}")


def parts(most: int, limit: int) -> Line:
    """Of the fullest partition of a table."""
    if most > PARTS_WARN * limit:
        advice = "Merges do not keep up: raise checkpoint.interval_seconds, look at the disk; more workers make it worse."
        return warn("clickhouse", "parts", f"{most} in one partition, inserts are refused from {limit} on", advice)
    return ok("clickhouse", "parts", f"{most} in one partition, inserts are refused from {limit} on")


def disks(free: Iterable[tuple[str, int, int]]) -> list[Line]:
    """Name, free and all bytes."""
    lines = []
    for name, left, total in free:
        share = left / total if total else 1.0
        shown = f"{name}: {left / 2**30:.0f} GiB free, {share:.0%}"
        advice = "Give room, or lower clickhouse.retention_days and run `trainwatch migrate up`: on a full disk inserts are refused."
        if share < DISK_FREE_WARN:
            lines.append((fail if share < DISK_FREE_FAIL else warn)("clickhouse", "disk", shown, advice))
        else:
            lines.append(ok("clickhouse", "disk", shown))
    return lines


def counted(lines: Iterable[Line]) -> Mapping[Mark, int]:
    """How many of each."""
    counts: dict[Mark, int] = dict.fromkeys(Mark, 0)
    for line in lines:
        counts[line.mark] += 1
    return counts


def as_json(lines: Sequence[Line]) -> dict[str, Any]:
    """For scripts."""
    counts = counted(lines)
    return {"holds": not counts[Mark.FAIL], "counts": {mark.value: count for mark, count in counts.items()}, "lines": lines}
