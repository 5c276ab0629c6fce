"""Who is told what and when: the book alone, with times given."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.errors import ConfigError
from pipeline.model.instants import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.runtime.notices import Circumstances, Notice
from pipeline.runtime.notify_book import ACK, KEPT_DAYS, SNOOZE, UNACK, Book, Due, Word, backoff
from pipeline.settings import NotifySettings, TargetSettings
from tests.unit.runtime.test_notices import notice

T0 = 1_767_225_600_000
ONCALL = TargetSettings(name="oncall")
LEAD = TargetSettings(name="lead", after_minutes={"high": 60, "critical": 15})
SETTINGS = NotifySettings(targets=(ONCALL, LEAD), tries_max=3, backoff_seconds=2.0, backoff_seconds_max=5.0)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with Book(tmp_path / "notify.sqlite") as opened:
        yield opened


def take(book: Book, word: Notice, *, offset: int = 1, epoch: int = 1, now: int = T0, aged: bool = False) -> None:
    book.take(word, b"{}", epoch=epoch, offset=offset, now=now, aged=aged)


def names(book: Book, now: int = T0, settings: NotifySettings = SETTINGS) -> list[str]:
    return [each.target.name for each in book.due(settings, now)]


def tell(book: Book, now: int = T0) -> list[Due]:
    """Deliver all that is due."""
    due = book.due(SETTINGS, now)
    for each in due:
        book.delivered(each, now)
    return due


@pytest.mark.parametrize(
    ("changes", "target", "told"),
    [
        ({}, {}, True),
        ({"severity": "medium"}, {}, False),
        ({"severity": "medium"}, {"severity_min": "medium"}, True),
        ({"severity": "critical"}, {}, True),
        ({"alert": False}, {}, False),
        ({"alert": False}, {"below_gate": True}, True),
        ({"status": "provisional"}, {}, True),
        ({"kind": "incident"}, {}, True),
        ({"kind": "incident"}, {"tells": "findings"}, False),
        ({"kind": "incident"}, {"tells": "incidents"}, True),
        ({}, {"tells": "incidents"}, False),
        ({"status": "retracted"}, {}, False),  # never told, so nothing to take back
    ],
)
def test_who_is_told_at_once(book: Book, changes: dict[str, object], target: dict[str, object], told: bool) -> None:
    """By severity, gate and kind."""
    take(book, notice(**changes))
    settings = NotifySettings(targets=(TargetSettings(name="oncall", **target),))
    assert names(book, settings=settings) == (["oncall"] if told else [])


def test_a_word_is_told_once_and_a_revision_only_if_it_says_something_else(book: Book) -> None:
    """Also when it comes again from the topic."""
    take(book, notice(status="provisional", revision=1))
    assert [each.word.notice.revision for each in tell(book)] == [1]
    take(book, notice(status="provisional", revision=1), offset=1)
    take(book, notice(status="provisional", revision=2), offset=2)
    assert tell(book) == []
    take(book, notice(status="final", revision=3), offset=3)
    assert [each.word.notice.status for each in tell(book)] == ["final"]
    take(book, notice(status="retracted", alert=False, revision=4), offset=4)
    assert [each.word.notice.status for each in tell(book)] == ["retracted"]
    assert tell(book) == []


def test_the_greatest_epoch_and_offset_counts(book: Book) -> None:
    """A former owner of the partition may write late."""
    take(book, notice(revision=5, status="final"), epoch=2, offset=3)
    take(book, notice(revision=4, status="provisional"), epoch=1, offset=99)
    assert [each.word.notice.status for each in tell(book)] == ["final"]


def test_old_words_are_noted_and_not_told(book: Book) -> None:
    """After a first start there are ninety days of them; a newer word on the same finding is told."""
    take(book, notice(revision=1, status="provisional"), aged=True)
    assert names(book) == []
    assert len(book.standings(T0)) == 1
    take(book, notice(revision=2, status="final"), offset=2)
    assert names(book) == ["oncall"]


@pytest.mark.parametrize(("severity", "minutes"), [("high", 60), ("critical", 15)])
def test_what_nobody_acknowledges_is_escalated_after_the_minutes_of_its_severity(book: Book, severity: str, minutes: int) -> None:
    """Not a millisecond earlier, and the message says for how long."""
    take(book, notice(severity=severity))
    tell(book)
    assert names(book, T0 + minutes * MINUTE_MS - 1) == []
    (due,) = book.due(SETTINGS, T0 + minutes * MINUTE_MS)
    assert (due.target.name, due.known.escalated_minutes) == ("lead", minutes)


def test_what_is_acknowledged_is_not_escalated_until_it_is_not(book: Book) -> None:
    """Changes are still told, with who works on it."""
    take(book, notice(revision=1))
    tell(book)
    book.answer("a" * 32, now=T0, account="u101@ops", action=ACK)
    later = T0 + 100 * MINUTE_MS
    assert names(book, later) == []
    take(book, notice(revision=2, severity="critical"), offset=2)
    assert [(each.target.name, each.known.acknowledged_by) for each in tell(book, later)] == [("oncall", "u101@ops")]
    book.answer("a" * 32, now=later, account="u101@ops", action=UNACK)
    assert names(book, later) == ["lead"]


def test_what_is_snoozed_is_told_to_nobody_until_then(book: Book) -> None:
    """And then its newest word is."""
    take(book, notice(revision=1, status="provisional"))
    book.answer("a" * 32, now=T0, account="u101@ops", action=SNOOZE, until=T0 + 1000)
    take(book, notice(revision=2), offset=2)
    assert names(book, T0 + 999) == []
    assert [each.word.notice.revision for each in book.due(SETTINGS, T0 + 1000)] == [2]


def test_an_acknowledgement_survives_a_snooze(book: Book) -> None:
    """They are answers to two questions."""
    take(book, notice())
    book.answer("a" * 32, now=T0, account="u101@ops", action=ACK)
    book.answer("a" * 32, now=T0, account="u102@ops", action=SNOOZE, until=T0 + 5)
    (standing,) = book.standings(T0)
    assert (standing.acknowledged_by, standing.snoozed_until) == ("u101@ops", T0 + 5)


def test_a_failed_delivery_waits_longer_each_time_and_is_given_up(book: Book) -> None:
    """Until somebody says `retry`; the other target is not held up, and a newer revision starts anew."""
    take(book, notice(revision=1))
    now, waits = T0, []
    for last in (False, False, True):
        (due,) = book.due(SETTINGS, now)
        assert book.failed(due, now, "answer 500", SETTINGS) is not last
        again = next((after for after in range(now, now + 10_000, 500) if names(book, after)), None)
        waits.append(again and again - now)
        now = again or now
    assert waits == [2000, 4000, None]
    assert [each.waiting for each in book.standings(now)] == [(("oncall", 3, "answer 500"),)]
    assert book.retry("a" * 32) == 1
    assert names(book, now) == ["oncall"]
    (due,) = book.due(SETTINGS, now)
    book.failed(due, now, "answer 500", SETTINGS)
    take(book, notice(revision=2, severity="critical"), offset=2)
    assert names(book, now) == ["oncall"]


def test_what_fails_is_listed_until_it_is_told_or_void(book: Book) -> None:
    """Also when it was given up; what nobody is to hear any more is no failure."""

    def failing() -> list[str]:
        return [each.target.name for each in book.failing(SETTINGS, T0)]

    take(book, notice(revision=1))
    assert failing() == []
    (due,) = book.due(SETTINGS, T0)
    for _ in range(SETTINGS.tries_max):
        book.failed(due, T0, "answer 500", SETTINGS)
        assert failing() == ["oncall"]
    assert book.failing(NotifySettings(targets=(LEAD,)), T0) == []  # a target that was taken out of the settings
    take(book, notice(revision=2, status="retracted"), offset=2)
    assert failing() == []
    take(book, notice(revision=3), offset=3)
    (due,) = book.due(SETTINGS, T0)
    book.failed(due, T0, "answer 500", SETTINGS)
    book.delivered(due, T0)
    assert failing() == []


def test_a_name_that_an_earlier_release_noted_of_a_finding_is_not_told(book: Book) -> None:
    """The file outlives an upgrade; of an incident the name is kept."""
    take(book, notice(actor="u042", withheld=""))
    take(book, notice(id="b" * 32, kind="incident", actor="u042", withheld=""))
    assert [(each.notice.kind, each.notice.actor) for each in book.standings(T0)] == [("finding", ""), ("incident", "u042")]


def test_what_an_earlier_release_told_with_a_name_is_not_told_again_without_it(book: Book) -> None:
    """All findings are judged again at an upgrade, and nobody wants to be called for each; an incident that loses its name is news."""
    for kind, id_ in (("finding", "a" * 32), ("incident", "b" * 32)):
        word = notice(kind=kind, id=id_, revision=1, status="provisional", actor="u042", withheld="")
        take(book, word)
        book.delivered(Due(ONCALL, Word(word, b"{}", T0, aged=False), Circumstances()), T0)
        take(book, notice(kind=kind, id=id_, revision=2, status="provisional"), offset=2)
    assert [each.word.notice.kind for each in tell(book)] == ["incident"]
    take(book, notice(revision=3, status="final"), offset=3)
    assert [each.word.notice.status for each in tell(book)] == ["final"]


def test_the_receiver_may_ask_for_more_time(book: Book) -> None:
    """Retry-After wins over a shorter wait of ours."""
    take(book, notice())
    (due,) = book.due(SETTINGS, T0)
    book.failed(due, T0, "answer 429", SETTINGS, retry_after_seconds=30)
    assert names(book, T0 + 29_999) == []
    assert names(book, T0 + 30_000) == ["oncall"]


def test_waits_are_doubled_up_to_a_bound() -> None:
    """Without jitter, so that they can be told."""
    assert [backoff(SETTINGS, tries) for tries in (1, 2, 3, 50)] == [2.0, 4.0, 5.0, 5.0]


def test_the_gravest_is_told_first(book: Book) -> None:
    """Then the oldest."""
    take(book, notice(id="b" * 32), now=T0 - 5)
    take(book, notice(id="c" * 32), now=T0 - 9)
    take(book, notice(id="d" * 32, severity="critical"), now=T0)
    assert [each.word.notice.id[0] for each in book.due(SETTINGS, T0)] == ["d", "c", "b"]


def test_a_detector_that_finds_very_much_is_held_back(book: Book) -> None:
    """A target hears of so many of its findings in an hour, and how many more wait; of others, incidents and changes it hears at once."""
    settings = NotifySettings(targets=(ONCALL,), hourly_max=2)
    for number in range(5):
        take(book, notice(id=f"{number:032}", detector="p04_environment_tamper"), now=T0 + number)
    take(book, notice(id="a" * 32, detector="p01_foreign_kill"), now=T0 + 9)
    take(book, notice(id="b" * 32, kind="incident", detector=""), now=T0 + 9)
    told = []
    for now in (T0 + 10, T0 + 11, T0 + 11 + HOUR_MS):
        due = book.due(settings, now)
        told.append([(each.word.notice.id[-1], each.known.held_back) for each in due])
        for each in due:
            book.delivered(each, now)
        assert not book.undelivered(settings, now), "the webhook has taken what there was"
        take(book, notice(id="0" * 32, detector="p04_environment_tamper", status="retracted", revision=3), offset=2)
    assert told == [[("0", 3), ("1", 3), ("a", 0), ("b", 0)], [("0", 3)], [("2", 1), ("3", 1)]]


def test_changes_take_no_place_of_what_is_new(book: Book) -> None:
    """Each finding becomes final once: what was told before would keep new ones back for as long as others follow."""
    settings = NotifySettings(targets=(ONCALL,), hourly_max=2)
    first, second = (notice(id=f"{number:032}", status="provisional", revision=1) for number in range(2))
    for at, word in ((T0, first), (T0 + HOUR_MS, second)):
        take(book, word, now=at)
        for each in book.due(settings, at):
            book.delivered(each, at)
    for offset, word in enumerate((first, second), 2):
        take(book, msgspec.structs.replace(word, status="final", revision=2), offset=offset)
    take(book, notice(id="9" * 32), now=T0 + HOUR_MS)
    due = book.due(settings, T0 + 2 * HOUR_MS)
    assert {each.word.notice.id[-1]: each.known.held_back for each in due} == {"0": 0, "1": 0, "9": 0}
    for each in due:
        book.delivered(each, T0 + 2 * HOUR_MS)
    take(book, notice(id="8" * 32), now=T0 + 2 * HOUR_MS)
    assert [each.word.notice.id[-1] for each in book.due(settings, T0 + 2 * HOUR_MS + 1)] == ["8"], "one is new, two were told before"


def test_without_a_bound_nothing_is_held_back(book: Book) -> None:
    """As a site may want it."""
    for number in range(50):
        take(book, notice(id=f"{number:032}"))
    assert len(names(book, settings=NotifySettings(targets=(ONCALL,), hourly_max=0))) == 50
    assert len(names(book, settings=NotifySettings(targets=(ONCALL,)))) == 30


def test_what_a_target_refuses_takes_no_place(book: Book) -> None:
    """Else a few bodies that a webhook does not like would keep all others from being told."""
    settings = NotifySettings(targets=(ONCALL,), hourly_max=1)
    for number in range(2):
        take(book, notice(id=f"{number:032}"), now=T0 + number)
    (first,) = book.due(settings, T0 + 5)
    book.failed(first, T0 + 5, "400", settings)
    (second,) = book.due(settings, T0 + 6)
    assert (first.word.notice.id[-1], second.word.notice.id[-1]) == ("0", "1")


def test_what_it_knows_survives_a_restart(tmp_path: Path) -> None:
    """Words, deliveries, tries and answers stand in the file, which nobody else may read."""
    path = tmp_path / "deep" / "notify.sqlite"
    with Book(path) as book:
        take(book, notice())
        tell(book)
        book.answer("a" * 32, now=T0, account="u101@ops", action=ACK)
    with Book(path) as book:
        assert tell(book, T0 + 100 * MINUTE_MS) == []
        assert book.standings(T0)[0].told == ("oncall",)
    assert path.stat().st_mode & 0o077 == 0


def test_what_is_long_past_is_forgotten(book: Book) -> None:
    """The file does not grow for ever."""
    take(book, notice(id="b" * 32), now=T0 - KEPT_DAYS * DAY_MS - 1)
    take(book, notice(id="c" * 32), now=T0 - KEPT_DAYS * DAY_MS)
    tell(book)
    book.forget(T0)
    assert [each.notice.id[0] for each in book.standings(T0)] == ["c"]
    book.forget(T0 + DAY_MS - 1)  # asked every second, and done once a day
    assert [each.notice.id[0] for each in book.standings(T0)] == ["c"]
    book.forget(T0 + DAY_MS)
    assert book.standings(T0) == []


@pytest.mark.parametrize("prefix", ["", "abcde", "a%' OR 1=1"])
def test_a_prefix_that_means_nothing_is_refused(book: Book, prefix: str) -> None:
    """With what to type instead."""
    with pytest.raises(ConfigError):
        book.ids(prefix)


def test_a_file_of_another_release_is_left_alone(tmp_path: Path) -> None:
    """And one that is no database."""
    path = tmp_path / "notify.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError):
        Book(path)


def test_a_quiet_book_is_not_read_again(book: Book, tmp_path: Path) -> None:
    """The notifier asks every second, and the book holds weeks; writes, also of another process, and times that come are seen."""
    read: list[str] = []
    book._file.set_trace_callback(read.append)

    def reads(now: int) -> tuple[list[str], bool]:
        read.clear()
        found = names(book, now)
        return found, any("FROM words WHERE aged" in statement for statement in read)

    take(book, notice(severity="critical"))
    tell(book)
    assert reads(T0) == ([], True)
    assert reads(T0 + 15 * MINUTE_MS - 1) == ([], False)
    assert reads(T0 + 15 * MINUTE_MS) == (["lead"], True)
    assert reads(T0 + 15 * MINUTE_MS) == (["lead"], True)  # until it is told
    with Book(tmp_path / "notify.sqlite") as other:
        other.answer(notice().id, now=T0, account="u017@gpu-012", action=SNOOZE, until=T0 + 60 * MINUTE_MS)
    assert reads(T0 + 16 * MINUTE_MS) == ([], True)
    assert reads(T0 + 59 * MINUTE_MS) == ([], False)
    assert reads(T0 + 60 * MINUTE_MS) == (["lead"], True)
    (due,) = book.due(SETTINGS, T0 + 60 * MINUTE_MS)
    book.failed(due, T0 + 60 * MINUTE_MS, "answer 503", SETTINGS)
    assert reads(T0 + 60 * MINUTE_MS) == ([], True)
    assert reads(T0 + 60 * MINUTE_MS + 1999) == ([], False)
    assert reads(T0 + 60 * MINUTE_MS + 2000) == (["lead"], True)


def test_since_when_something_is_undelivered(book: Book) -> None:
    """From when it was due; of what comes behind an hour of silence, from then; of a change, from whenever one asks; told is told."""
    take(book, notice(severity="high"))
    id_ = notice().id
    assert book.undelivered(SETTINGS, T0 + 5) == {(id_, "oncall"): T0}
    later = T0 + 61 * MINUTE_MS
    assert book.undelivered(SETTINGS, later) == {(id_, "oncall"): T0, (id_, "lead"): T0 + 60 * MINUTE_MS}
    for each in book.due(SETTINGS, later):
        book.delivered(each, later)
    assert book.undelivered(SETTINGS, later) == {}
    take(book, notice(severity="critical", revision=3), offset=2)
    assert set(book.undelivered(SETTINGS, later + 7).values()) == {later + 7}
