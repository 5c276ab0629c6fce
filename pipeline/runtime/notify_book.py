"""Notices and what people said of them in; what is due to which target out.  Kept in one SQLite file.

    taken ──► told to those who are told at once ──┬─ acknowledged ──► changes only, and to nobody further
                                                   └─ after_minutes of its severity ──► told to those behind

A word is stored before its offset is committed, and a delivery is noted after it was acknowledged: what is lost in between is a note, so a
target may be told twice, with the same id, and never not at all.  The commands `ack` and `snooze` write the same file from other
processes.

Holds: `due` reads no clock; of one id the word with the greatest (epoch, offset) counts, whatever came in between; a target that was never
told of something is not told that it was taken back; no detector has more than `hourly_max` new findings told to a target in an hour, the
gravest and oldest first, and what is held back is told when there is room again.  Changes of what was told wait for nothing, and take no
room.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from pipeline.errors import ConfigError, FatalError
from pipeline.model.instants import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.runtime.notices import FINDINGS, KINDS, LEVELS, RETRACTED, UNTOLD, Circumstances, Notice
from pipeline.settings import NotifySettings, TargetSettings

VERSION = 1
NAMELESS = 3  # words of `says` before the actor: none holds its separator, a name may
ACK, UNACK, SNOOZE = "ack", "unack", "snooze"
KEPT_DAYS = 60
BUSY_SECONDS = 10.0
PREFIX_MIN = 6
NEVER = 2**63 - 1
TABLES = """
CREATE TABLE IF NOT EXISTS words (
    id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, "offset" INTEGER NOT NULL, notice BLOB NOT NULL, value BLOB NOT NULL,
    since INTEGER NOT NULL, aged INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS told (
    id TEXT NOT NULL, target TEXT NOT NULL, revision INTEGER NOT NULL, says TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (id, target)
);
CREATE TABLE IF NOT EXISTS tries (
    id TEXT NOT NULL, target TEXT NOT NULL, revision INTEGER NOT NULL, tries INTEGER NOT NULL, next INTEGER NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (id, target)
);
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, at INTEGER NOT NULL, account TEXT NOT NULL, action TEXT NOT NULL,
    until INTEGER NOT NULL, note TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_of ON answers (id);
"""


class Word(msgspec.Struct, frozen=True):
    """The newest word on an id."""

    notice: Notice
    value: bytes
    since: int  # UTC ms, when the notifier first heard of the id
    aged: bool  # it was old when it came: noted, not told


class Due(msgspec.Struct, frozen=True):
    """What is to be sent now."""

    target: TargetSettings
    word: Word
    known: Circumstances


class Standing(msgspec.Struct, frozen=True):
    """One line of `trainwatch notify list`."""

    notice: Notice
    since: int
    told: tuple[str, ...]
    waiting: tuple[tuple[str, int, str], ...]  # target, tries, why
    acknowledged_by: str
    snoozed_until: int


class Book:
    """The file.  Use as a context manager.  Raises ConfigError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._quiet: tuple[object, ...] | None = None  # settings and state of the file of which nothing is due ...
        self._quiet_until = 0  # ... before this
        self._forgets_at = 0
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)
            with ExitStack() as unless_refused:
                self._file = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
                unless_refused.callback(self._file.close)
                self._file.execute("PRAGMA journal_mode=WAL")
                self._file.execute("PRAGMA synchronous=FULL")
                ((version,),) = self._file.execute("PRAGMA user_version").fetchall()
                if version not in (0, VERSION):
                    raise ConfigError(f"{path} was written by another release", advice="Use that release, or move the file away.")
                self._file.executescript(TABLES)
                self._file.execute(f"PRAGMA user_version={VERSION}")
                unless_refused.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cannot use {path}: {error}", advice="Set notify.state_file to a file that this account may write."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is written within is written, or nothing."""
        try:
            self._file.execute("BEGIN IMMEDIATE")
            yield
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            raise FatalError(
                f"the state of notify cannot be written: {error}", advice="Check space and rights of notify.state_file."
            ) from error
        finally:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")

    # --- the notifier writes

    def take(self, notice: Notice, value: bytes, *, epoch: int, offset: int, now: int, aged: bool) -> None:
        """A word from the topic; an older one than is known changes nothing."""
        self._file.execute(
            "INSERT INTO words VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET epoch=excluded.epoch, "
            '"offset"=excluded."offset", '
            "notice=excluded.notice, value=excluded.value, aged=excluded.aged "
            'WHERE (excluded.epoch, excluded."offset") > (words.epoch, words."offset")',
            (notice.id, epoch, offset, msgspec.json.encode(notice), value, now, aged),
        )

    def delivered(self, due: Due, now: int) -> None:
        """The target took it."""
        notice = due.word.notice
        with self.at_once():
            self._file.execute(
                "INSERT INTO told VALUES (?, ?, ?, ?, ?) ON CONFLICT (id, target) DO UPDATE SET "  # `at` stays that of the first time
                "revision=excluded.revision, says=excluded.says",
                (notice.id, due.target.name, notice.revision, notice.says, now),
            )
            self._file.execute("DELETE FROM tries WHERE id = ? AND target = ?", (notice.id, due.target.name))

    def failed(self, due: Due, now: int, why: str, settings: NotifySettings, *, retry_after_seconds: float = 0.0) -> bool:
        """The target did not take it; answers whether it is tried again."""
        notice = due.word.notice
        tries = self._tries(notice, due.target) + 1
        wait = max(backoff(settings, tries), retry_after_seconds)
        with self.at_once():
            self._file.execute(
                "INSERT OR REPLACE INTO tries VALUES (?, ?, ?, ?, ?, ?)",
                (notice.id, due.target.name, notice.revision, tries, now + round(wait * 1000), why),
            )
        return tries < settings.tries_max

    def _tries(self, notice: Notice, target: TargetSettings) -> int:
        found = self._file.execute(
            "SELECT tries FROM tries WHERE id = ? AND target = ? AND revision = ?", (notice.id, target.name, notice.revision)
        ).fetchone()
        return int(found[0]) if found else 0

    def forget(self, now: int) -> None:
        """Drop what came more than KEPT_DAYS ago, with all that belongs to it; asked again on the same day it does nothing."""
        if now < self._forgets_at:
            return
        self._forgets_at = now + DAY_MS
        before = now - KEPT_DAYS * DAY_MS
        with self.at_once():
            for table in ("told", "tries", "answers"):
                self._file.execute(f"DELETE FROM {table} WHERE id IN (SELECT id FROM words WHERE since < ?)", (before,))  # noqa: S608  our names
            self._file.execute("DELETE FROM words WHERE since < ?", (before,))

    # --- people write

    def answer(self, id_: str, *, now: int, account: str, action: str, until: int = 0, note: str = "") -> None:
        """ack, unack or snooze; kept, the newest of its kind counts."""
        with self.at_once():
            self._file.execute(
                "INSERT INTO answers (id, at, account, action, until, note) VALUES (?, ?, ?, ?, ?, ?)",
                (id_, now, account, action, until, note),
            )

    def retry(self, id_: str = "") -> int:
        """What waits or was given up is tried again at once: of one id, or all; answers how many deliveries."""
        with self.at_once():
            return self._file.execute("DELETE FROM tries WHERE ? IN ('', id)", (id_,)).rowcount

    def ids(self, prefix: str) -> list[str]:
        """Ids of which words came, that begin so.  Raises ConfigError on a prefix that is too short to mean one."""
        if len(prefix) < PREFIX_MIN or not prefix.isalnum():
            raise ConfigError(f"{prefix!r} is not an id", advice=f"Give at least its first {PREFIX_MIN} digits.")
        found = self._file.execute("SELECT id FROM words WHERE substr(id, 1, ?) = ? ORDER BY id LIMIT 20", (len(prefix), prefix))
        return [id_ for (id_,) in found]

    # --- reading

    def due(self, settings: NotifySettings, now: int) -> list[Due]:
        """What is to be sent now, the gravest first.  May be asked often: rows are read when something was written, or a time has come."""
        state = (settings, self._file.total_changes, *self._file.execute("PRAGMA data_version").fetchone())
        if state == self._quiet and now < self._quiet_until:
            return []
        found, _ = self._due(settings, now)
        self._quiet, self._quiet_until = (None, 0) if found else (state, self._next_moment(settings, now))
        return found

    def _next_moment(self, settings: NotifySettings, now: int) -> int:
        """Before which nothing becomes due by itself: a next try, the end of a snooze, an escalation, or room for what is held back."""
        waits = {minutes * MINUTE_MS for target in settings.targets for minutes in target.after_minutes.values()}
        sql = (
            "SELECT min(moment) FROM (SELECT next AS moment FROM tries UNION ALL SELECT until FROM answers "
            "UNION ALL SELECT since + ? FROM words UNION ALL SELECT at + ? FROM told) WHERE moment > ?"
        )
        moments = [self._file.execute(sql, (wait, HOUR_MS, now)).fetchone()[0] for wait in waits or {0}]
        return min((moment for moment in moments if moment is not None), default=NEVER)

    def _due(self, settings: NotifySettings, now: int) -> tuple[list[Due], set[tuple[str, str]]]:
        """(what is to be sent, the gravest first; id and target of what is held back)."""
        seen, may, held = self._seen(), list[Due](), list[Due]()
        told = self._told_lately(now)
        ready = (
            each for each in self._untold(settings, now, seen) if seen.ready(each.word.notice, each.target.name, settings.tries_max, now)
        )
        for each in sorted(ready, key=_order):
            notice, target = each.word.notice, each.target.name
            bounded = settings.hourly_max and notice.detector and target not in seen.told[notice.id]
            if bounded and told[target, notice.detector] >= settings.hourly_max:
                held.append(each)
                continue
            told[target, notice.detector] += bool(bounded)
            may.append(each)
        waiting = Counter((each.target.name, each.word.notice.detector) for each in held)
        for number, each in enumerate(may):
            if count := waiting[each.target.name, each.word.notice.detector]:
                may[number] = msgspec.structs.replace(each, known=msgspec.structs.replace(each.known, held_back=count))
        return may, {(each.word.notice.id, each.target.name) for each in held}

    def _told_lately(self, now: int) -> Counter[tuple[str, str]]:
        """How many findings of each detector each target heard of for the first time in the last hour."""
        sql = (
            "SELECT target, json_extract(CAST(notice AS TEXT), '$.detector'), count(*) FROM told JOIN words USING (id) "
            "WHERE at > ? GROUP BY 1, 2"
        )
        return Counter({(target, detector): count for target, detector, count in self._file.execute(sql, (now - HOUR_MS,))})

    def undelivered(self, settings: NotifySettings, now: int) -> dict[tuple[str, str], int]:
        """Since when, UTC ms, by id and target, something is to be told; of a change to what was told, `now`: its time is not kept.

        What is held back is not: nobody has failed to take it.
        """
        seen, (_, held) = self._seen(), self._due(settings, now)
        return {
            (each.word.notice.id, each.target.name): now
            if each.target.name in seen.told[each.word.notice.id]
            else each.word.since + each.known.escalated_minutes * MINUTE_MS
            for each in self._untold(settings, now, seen)
            if (each.word.notice.id, each.target.name) not in held
        }

    def failing(self, settings: NotifySettings, now: int) -> list[Due]:
        """What a target has not taken so far and is still to hear: waiting for its next try, or given up."""
        seen = self._seen()
        return [each for each in self._untold(settings, now, seen) if seen.tried(each.word.notice, each.target.name)]

    def _untold(self, settings: NotifySettings, now: int, seen: "_Seen") -> Iterator[Due]:
        for word in self._words(aged=False):
            notice = word.notice
            acknowledged, snoozed = seen.answered(notice.id)
            for target in settings.targets if snoozed <= now else ():
                told = seen.told[notice.id].get(target.name)
                minutes = wanted(target, word, acknowledged=bool(acknowledged), now=now)
                if _is_first(minutes, notice) if told is None else _is_change(told, notice):
                    yield Due(target, word, Circumstances(minutes or 0, acknowledged))

    def standings(self, now: int) -> list[Standing]:
        """All that is known, the newest first."""
        seen = self._seen()
        found = []
        for word in self._words():
            id_ = word.notice.id
            told = tuple(sorted(seen.told[id_]))
            waiting = tuple(sorted((target, tries, why) for target, (_, tries, _, why) in seen.tries[id_].items()))
            acknowledged, snoozed = seen.answered(id_)
            found.append(Standing(word.notice, word.since, told, waiting, acknowledged, snoozed if snoozed > now else 0))
        return sorted(found, key=lambda each: (-each.since, each.notice.id))

    def _words(self, *, aged: bool = True) -> Iterator[Word]:
        sql = "SELECT notice, value, since, aged FROM words WHERE aged <= ? ORDER BY since, id"
        for text, value, since, old in self._file.execute(sql, (aged,)).fetchall():
            notice = msgspec.json.decode(text, type=Notice)
            if notice.kind == KINDS[FINDINGS] and notice.actor:  # noted by a release that told it
                notice = msgspec.structs.replace(notice, actor="", withheld=UNTOLD)
            yield Word(notice, value, since, bool(old))

    def _seen(self) -> "_Seen":
        return _Seen(
            self._file.execute("SELECT id, target, revision, says FROM told").fetchall(),
            self._file.execute("SELECT id, target, revision, tries, next, why FROM tries").fetchall(),
            self._file.execute("SELECT id, account, action, until FROM answers ORDER BY number").fetchall(),
        )


class _Seen:
    """All that was told, tried and answered, read at once."""

    def __init__(
        self, told: Sequence[tuple[str, str, int, str]], tries: Sequence[tuple[Any, ...]], answers: Sequence[tuple[str, str, str, int]]
    ) -> None:
        self.told: defaultdict[str, dict[str, tuple[int, str]]] = defaultdict(dict)  # by id, then target
        self.tries: defaultdict[str, dict[str, tuple[Any, ...]]] = defaultdict(dict)  # same; revision, tries, next, why
        for id_, target, revision, says in told:
            self.told[id_][target] = revision, says
        for id_, target, *rest in tries:
            self.tries[id_][target] = (*rest,)
        self._answers: dict[str, tuple[str, int]] = {}
        for id_, account, action, until in answers:
            by, snoozed = self.answered(id_)
            self._answers[id_] = (by, until) if action == SNOOZE else (account if action == ACK else "", snoozed)

    def answered(self, id_: str) -> tuple[str, int]:
        """(who acknowledged it, until when it is snoozed)."""
        return self._answers.get(id_, ("", 0))

    def ready(self, notice: Notice, target: str, tries_max: int, now: int) -> bool:
        """Not given up, and not waiting for its next try; a newer revision starts anew."""
        _, tries, following, _ = self.tries[notice.id].get(target, (-1, 0, 0, ""))
        return not self.tried(notice, target) or (tries < tries_max and following <= now)

    def tried(self, notice: Notice, target: str) -> bool:
        """Whether this revision was refused."""
        revision, tries, _, _ = self.tries[notice.id].get(target, (-1, 0, 0, ""))
        return bool(revision == notice.revision and tries)


def _order(due: Due) -> tuple[int, int, str, str]:
    notice = due.word.notice
    return -LEVELS.index(notice.severity), due.word.since, notice.id, due.target.name


def _is_first(minutes: int | None, notice: Notice) -> bool:
    return minutes is not None and notice.status != RETRACTED


def _is_change(told: tuple[int, str], notice: Notice) -> bool:
    revision, says = told
    if notice.kind == KINDS[FINDINGS]:  # an earlier release noted its actor there, too
        return notice.revision != revision and notice.says.split("|")[:NAMELESS] != says.split("|")[:NAMELESS]
    return notice.revision != revision and notice.says != says


def wanted(target: TargetSettings, word: Word, *, acknowledged: bool, now: int) -> int | None:
    """Whether the target is to hear of a word that it was not told of: after how many minutes of silence, 0 at once; None: not (yet)."""
    notice = word.notice
    if target.tells not in ("both", f"{notice.kind}s"):
        return None
    if LEVELS.index(notice.severity) < LEVELS.index(target.severity_min) or not (notice.alert or target.below_gate):
        return None
    if not target.after_minutes:
        return 0
    minutes = target.after_minutes.get(notice.severity)  # type: ignore[call-overload]
    if minutes is None or acknowledged or now < word.since + minutes * MINUTE_MS:
        return None
    return int(minutes)


def backoff(settings: NotifySettings, tries: int) -> float:
    """Seconds until the next try.  Without jitter: one notifier tells a handful of targets, and the same failures give the same times."""
    return float(min(settings.backoff_seconds * 2 ** min(tries - 1, 32), settings.backoff_seconds_max))
