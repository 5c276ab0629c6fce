"""Sources most of whose lines nobody can read any more: from when on they are a gap, for whom, and what stays as it was."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.ingest.feeds import FEEDS, HOST_FEEDS_MAX, LEARNT, Failing, Feeds, agreed, feed_key, merged, together
from pipeline.ingest.step import IngestState, build_state, step
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import EventRow, Lost, Record, Rejected
from pipeline.model.source import Source
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import BUCKET_MS, HOST, ms

AUDIT = "/var/log/audit/audit.log"
EVERY = 10  # seconds between two lines
FROM = LEARNT * EVERY  # when a feed is known
NOBODYS = b"v2|audit|gpu-001|SYSCALL|62"


def audit(at: float) -> bytes:
    return f"type=DAEMON_ROTATE msg=audit({ms(at) / 1000:.3f}:{int(at)}): op=rotate-logs auid=0 pid=1 subj=unconfined res=success".encode()


def line(at: float, value: bytes | None = None, host: str = HOST, file: str = AUDIT, topic: str = "logs.access") -> Record:
    headers = [("host", host.encode()), ("file", file.encode()), ("collected", b"%d" % ms(at))]
    return build.record(audit(at) if value is None else value, int(at), topic=topic, at=at, headers=headers)


def learnt(**where: Any) -> list[Record]:
    return [line(at, **where) for at in range(0, FROM, EVERY)]


def unread(start: float, count: int, **where: Any) -> list[Record]:
    return [line(start + each * EVERY, NOBODYS, **where) for each in range(count)]


def fold(records: Iterable[Record], state: IngestState | None = None, **ingest: Any) -> tuple[IngestState, list[Any]]:
    state = state or build_state(build.settings(ingest=ingest), Cases())
    return step(state, list(records), NOTHING)


def lost(outcomes: Sequence[Any]) -> dict[tuple[Source, str], tuple[int, ...]]:
    return {(out.source, out.host): out.buckets for out in outcomes if isinstance(out, Lost)}


def failing(state: IngestState, now: int = sys.maxsize) -> list[Failing]:
    return merged([state.feeds], now)


def test_the_records_are_what_they_are_said_to_be() -> None:
    """Else nothing below is tested."""
    assert all(isinstance(out, EventRow) for out in fold([line(5)])[1][:1])
    assert isinstance(fold([line(5, NOBODYS)])[1][0], Rejected)


def test_a_source_that_was_read_and_is_not_any_more_is_a_gap_from_the_first_such_line_on() -> None:
    """On this host, for the family that it was; and the feed is told to people."""
    _, outcomes = fold([*learnt(), *unread(FROM, 20)])
    first, last = ms(FROM) - 120_000, ms(FROM + 19 * EVERY)
    assert lost(outcomes) == {(Source.AUDITD, HOST): tuple(range(first - first % BUCKET_MS, last + 1, BUCKET_MS))}
    state, _ = fold([*learnt(), *unread(FROM, 20)])
    (told,) = failing(state)
    assert (told.families, told.host, told.since, told.missed) == (("auditd",), HOST, ms(FROM), 20)
    assert "auditd on gpu-001: 20 lines" in told.text


def test_fewer_are_no_gap() -> None:
    """And what is read between them makes them fewer."""
    assert lost(fold([*learnt(), *unread(FROM, 19)])[1]) == {}
    mixed = [line(FROM + at * EVERY, NOBODYS if at % 2 else None) for at in range(200)]
    assert lost(fold([*learnt(), *mixed])[1]) == {}


def test_the_valid_ones_are_kept_all_the_same() -> None:
    """One in three of a source that fails."""
    mixed = [line(FROM + at * EVERY, NOBODYS if at % 3 else None) for at in range(90)]
    _, outcomes = fold([*learnt(), *mixed])
    assert sum(isinstance(out, EventRow) for out in outcomes) == LEARNT + 30
    assert sum(isinstance(out, Rejected) for out in outcomes) == 60
    assert lost(outcomes)


def test_it_is_over_when_it_is_read_again() -> None:
    """Soon: the score is bounded.  What is lost afterwards is a new matter."""
    broken = [*learnt(), *unread(FROM, 500)]
    state, _ = fold(broken)
    assert failing(state)
    after = FROM + 500 * EVERY
    state, outcomes = fold([line(after + at * EVERY) for at in range(25)], state)
    assert not failing(state)
    assert lost(outcomes) == {}
    assert lost(fold([line(after + 260, NOBODYS)], state)[1]) == {}


@pytest.mark.parametrize("share", [2, 5])
def test_of_a_system_log_in_which_daemons_talk_nothing_is_concluded(share: int) -> None:
    """Most of its lines belong to no format from the first day on."""
    records = [line(at * EVERY, None if at % share == 0 else NOBODYS, file="/var/log/messages") for at in range(500)]
    assert lost(fold([*records, *unread(5_000, 300, file="/var/log/messages")])[1]) == {}


def test_output_of_jobs_is_none() -> None:
    """Whoever runs a job could blind everybody by printing."""
    file = "/home/u017/slurm-7.out"
    printed = [
        line(at, b"iteration 5/10 | lm loss: 2.0 |" if at < FROM else NOBODYS, file=file, topic="logs.training")
        for at in range(0, 3 * FROM, EVERY)
    ]
    state, outcomes = fold(printed)
    assert (lost(outcomes), state.feeds.known) == ({}, {})


def test_one_that_nobody_ever_read_is_none() -> None:
    """What it would have told is not known; that it is silent shows in the coverage."""
    assert lost(fold(unread(0, 300))[1]) == {}


def test_after_a_day_in_which_it_was_read_in_part_it_is_so_by_nature() -> None:
    """Say a daemon was set up that writes to the same file; else its host would be blind for ever."""
    mixed = [line(FROM + at * EVERY, NOBODYS if at % 4 else None) for at in range(2 * DAY_MS // 1000 // EVERY)]
    state, outcomes = fold([*learnt(), *mixed])
    assert not failing(state)
    (buckets,) = lost(outcomes).values()
    assert max(buckets) < ms(FROM) + DAY_MS + BUCKET_MS
    gone = unread(FROM, 2 * DAY_MS // 1000 // 600, file=AUDIT)
    state, _ = fold([*learnt(), *gone])
    assert failing(state)  # and one of which nothing is read fails for as long as it takes


def test_a_rotated_file_is_the_same_source() -> None:
    """As on the day before."""
    assert lost(fold([*learnt(file="/var/log/audit/2026-03-01.log"), *unread(FROM, 20, file="/var/log/audit/2026-03-02.log")])[1])


def test_whoever_names_files_as_he_likes_takes_no_place_from_others() -> None:
    """Nor does he make the state grow."""
    flood = [line(FROM + at, NOBODYS, host="gpu-002", file=f"/x/{'a' * at}") for at in range(1, 300)]
    state, _ = fold([*learnt(), *flood])
    assert len(state.feeds.known) == 1 + HOST_FEEDS_MAX
    assert lost(fold(unread(2 * FROM, 20), state)[1])


def test_nor_does_a_shipper_whose_clock_is_years_ahead() -> None:
    """Also not after a restart, which knows how far time has come by what the feeds were."""
    wrapped = {
        "message": audit(5).decode(),
        "host": {"name": "gpu-002"},
        "log": {"file": {"path": AUDIT}},
        "@timestamp": "2090-01-01T00:00:00Z",
    }
    ahead = build.record(json.dumps(wrapped).encode(), 5, topic="logs.access", at=FROM)
    state, _ = fold([*learnt(), ahead])
    assert len(state.feeds.known) == 2
    again, _ = fold([line(FROM)], build_state(build.settings(), Cases(state.feeds._cases.facts())))
    assert again.feeds.known.keys() == state.feeds.known.keys()
    assert lost(fold(unread(FROM + EVERY, 20), again)[1])


@pytest.mark.parametrize("days", [0.1, 1_000])
def test_nor_does_a_record_whose_own_time_is_ahead(days: float) -> None:
    """The producer's clock: one source fails all the same, the others are as known as before, also after a restart."""
    ahead = build.record(
        audit(FROM), 5, topic="logs.access", at=FROM + days * DAY_MS / 1000, headers=[("host", b"gpu-002"), ("file", b"/a")]
    )
    state, _ = fold([*learnt(), *learnt(host="gpu-003"), *unread(FROM, 20), ahead])
    assert [each.host for each in failing(state, ms(FROM + 300))] == [HOST]
    assert {*state.feeds.senders(agreed([state.feeds]))} == {HOST, "gpu-003"}
    again, _ = fold([line(FROM + 300, host="gpu-003")], build_state(build.settings(), Cases(state.feeds._cases.facts())))
    assert len(again.feeds.known) == 3
    assert [each.host for each in failing(again, ms(FROM + 300))] == [HOST]


def test_a_batch_that_breaks_in_the_middle_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard folds its records again, one by one: they are no more than they were."""
    records = [*learnt(), *unread(FROM, 15)]
    straight, _ = fold(records)
    state, _ = fold(records[:50])
    with monkeypatch.context() as patch:
        patch.setattr(Feeds, "keep", None)
        with pytest.raises(TypeError):
            fold(records[50:], state)
    for record in records[50:]:
        fold([record], state)
    assert state.feeds.known == straight.feeds.known
    assert state.feeds.uneasy == straight.feeds.uneasy != set()
    failing = unread(FROM + 15 * EVERY, 15)
    with monkeypatch.context() as patch:
        patch.setattr(Feeds, "keep", None)
        with pytest.raises(TypeError):
            fold(failing, state)
    assert sum(gap.unread for gap in fold(failing, state)[0].feeds.take_gaps()) == 30
    other, _ = fold([line(5, host="gpu-009")])
    with monkeypatch.context() as patch:
        patch.setattr(Feeds, "keep", None)
        with pytest.raises(TypeError):
            fold([line(6)], other)
    assert fold([], other)[0].feeds.known.keys() == fold([line(5, host="gpu-009")])[0].feeds.known.keys()


# --- held for all inputs ------------------------------------------------------------------------------------------------------------

WORDS = st.lists(st.tuples(st.sampled_from(["gpu-001", "gpu-002"]), st.booleans(), st.integers(-30, 400)), min_size=30, max_size=250)


def told_in(words: Sequence[tuple[str, bool, int]]) -> list[Record]:
    """Lines of two hosts, which a format reads or not, in some order of collection."""
    at, records = 0.0, []
    for host, well, step_seconds in words:
        at = max(at + step_seconds, 0.0)
        records.append(line(at, None if well else NOBODYS, host=host))
    return [*learnt(), *learnt(host="gpu-002"), *records]


@hypothesis_settings(max_examples=30, deadline=None)
@given(WORDS, st.lists(st.integers(1, 60), min_size=1, max_size=12), st.booleans())
def test_the_same_lines_in_the_same_order_give_the_same_gaps_cut_into_any_batches(
    words: list[tuple[str, bool, int]], sizes: list[int], restarts: bool
) -> None:
    """Also where the process dies between two batches, and only its cases are left."""
    records = told_in(words)
    whole, outcomes = fold(records, failing_records=8)
    state, cases = build_state(build.settings(ingest={"failing_records": 8}), Cases()), Cases()
    pieces: dict[tuple[Source, str], set[int]] = {}
    at = turn = 0
    while at < len(records):
        size = sizes[turn % len(sizes)]
        if restarts:
            state = build_state(build.settings(ingest={"failing_records": 8}), cases)
        state, some = fold(records[at : at + size], state)
        cases = state.cases
        for key, buckets in lost(some).items():
            pieces.setdefault(key, set()).update(buckets)
        at, turn = at + size, turn + 1
    assert {key: tuple(sorted(buckets)) for key, buckets in pieces.items()} == lost(outcomes)
    assert {key: body for key, (_, body) in cases.of(FEEDS).items()} == {key: body for key, (_, body) in whole.cases.of(FEEDS).items()}


@hypothesis_settings(max_examples=30, deadline=None)
@given(WORDS)
def test_what_one_source_says_is_no_gap_of_another(words: list[tuple[str, bool, int]]) -> None:
    """Each host has the gaps that it has alone."""
    both = lost(fold(told_in(words), failing_records=8)[1])
    for host in ("gpu-001", "gpu-002"):
        alone = [each for each in told_in(words) if dict(each.headers)["host"] == host.encode()]
        assert lost(fold(alone, failing_records=8)[1]) == {key: buckets for key, buckets in both.items() if key[1] == host}


def test_who_writes_to_a_system_log_blinds_no_family_of_the_cluster() -> None:
    """By `logger` in another's name, and then lines that nobody can read: what each host has for itself is lost there, and no more."""
    feeds, key = Feeds(Cases(), 50, 20), feed_key("logs.access", "main", HOST, HOST, "/var/log/secure")
    for _ in range(LEARNT):
        feeds.read(key, Source.SSHD, ms(0))
    feeds.read(key, Source.HDFS_AUDIT, ms(1))
    assert [feeds.unread(key, ms(2 + at)) for at in range(20)][-1] == ((Source.SSHD,), ms(2))
    feeds.keep()
    assert [gap.families for gap in feeds.take_gaps()] == [(Source.SSHD,)]


# --- together -----------------------------------------------------------------------------------------------------------------------


def feeds_of(healthy: int, failing: int, family: Source = Source.AUDITD, sender: str = "gpu-{:03}") -> Feeds:
    """Steady feeds of so many hosts, some of which fail."""
    feeds = Feeds(Cases(), 50, 20)
    for number in range(healthy + failing):
        host = f"gpu-{number:03}"
        key = feed_key("logs.access", "main", host, sender.format(number), AUDIT)
        for _ in range(LEARNT):
            feeds.read(key, family, ms(0))
        for at in range(20 if number < failing else 0):
            feeds.unread(key, ms(at))
    feeds.keep()
    return feeds


@pytest.mark.parametrize(("healthy", "failing", "stops"), [(0, 3, True), (3, 3, True), (4, 3, False), (0, 2, False), (97, 49, False)])
def test_three_hosts_and_half_of_all_are_no_authors_doing(healthy: int, failing: int, stops: bool) -> None:
    """One or two may be one author's; some among many, too."""
    assert bool(together([feeds_of(healthy, failing)], 3)) is stops


def test_a_clock_that_is_ahead_stops_no_worker_and_spares_none() -> None:
    """By it all others would have been silent for long."""
    for failing, stops in ((3, True), (2, False)):
        feeds = feeds_of(3, failing)
        feeds.read(feed_key("logs.access", "main", "gpu-900", "gpu-900", AUDIT), Source.AUDITD, ms(0) + 1_000 * DAY_MS)
        assert bool(together([feeds], 3)) is stops


def test_hosts_of_all_partitions_count_together() -> None:
    """Each partition holds some of them."""
    one = feeds_of(0, 2)
    other = Feeds(Cases(), 50, 20)
    key = feed_key("logs.access", "main", "gpu-900", "gpu-900", AUDIT)
    for _ in range(LEARNT):
        other.read(key, Source.AUDITD, ms(0))
    assert together([one, other], 3) == []
    for at in range(20):
        other.unread(key, ms(at))
    other.keep()
    assert together([one, other], 3) == ["gpu-000", "gpu-001", "gpu-900"]
    assert together([one, other], 0) == []


@pytest.mark.parametrize(
    ("family", "sender"), [(Source.SSHD, "gpu-{:03}"), (Source.KERNEL, "gpu-{:03}"), (Source.AUDITD, ""), (Source.AUDITD, "loghost")]
)
def test_what_any_user_may_write_or_one_sender_hands_in_counts_little(family: Source, sender: str) -> None:
    """`logger` on every host of a large job, frames of syslog with any host, one central log host."""
    assert together([feeds_of(0, 50, family, sender)], 3) == []


@hypothesis_settings(max_examples=40, deadline=None)
@given(WORDS.map(lambda words: [(host, well, abs(step_seconds)) for host, well, step_seconds in words]))
def test_an_author_of_two_sources_never_stops_the_worker(words: list[tuple[str, bool, int]]) -> None:
    """Whatever he writes, and whatever hosts his lines name, as long as his shippers name theirs."""
    records = told_in(words)
    others = [each for host in ("gpu-003", "gpu-004") for each in learnt(host=host)]
    state, _ = fold([*others, *records], failing_records=5)
    assert together([state.feeds], 3) == []
