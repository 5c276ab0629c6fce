"""One test per law of event time.

logs.access/0   auditd 90   sshd 70
logs.access/1   auditd 60   progress 80          auditd min(90, 60) = 60      sshd min(70, 80) = 70
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.facts import Fact
from pipeline.model.outcome import Lost, Observed
from pipeline.model.source import Source
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import (
    COVERAGE,
    EMPTY,
    NOTHING,
    SAID_MAX,
    Buckets,
    Marks,
    Vector,
    Watermarks,
    bucket_of,
    buckets_covered,
    decode_vector,
    encode_vector,
)

C = "main"
AUDITD, SSHD, SACCT = (f"{C}\x1f{source}" for source in (Source.AUDITD, Source.SSHD, Source.SACCT))
TOPIC = "logs.access"


def vector(partition: int = 0, progress: int = 100, partitions: int = 1, topic: str = TOPIC, **marks: int | tuple[int, int]) -> Vector:
    """What a partition says; a plain number is an observed mark."""
    named = {f"{C}\x1f{name}": mark if isinstance(mark, tuple) else (mark, mark) for name, mark in marks.items()}
    return Vector(topic, partition, partitions, progress, named)


def hearer(*vectors: Vector, upstream: tuple[str, ...] = (TOPIC,)) -> Marks:
    """A keyed stage that heard these."""
    marks = Marks(Cases(), 10, upstream)
    for each in vectors:
        marks.hear(each)
    return marks


def mark(view: Watermarks, source: Source = Source.AUDITD) -> tuple[int, int]:
    return view.marks().get((C, source), (0, 0))


# --- the laws -------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(EMPTY, 50), st.integers(0, 50), st.integers(0, 50)), max_size=20))
def test_it_never_goes_back(said: list[tuple[int, int, int, int]]) -> None:
    """Whatever is heard, in whatever order."""
    marks = hearer()
    seen = (0, 0)
    for partition, progress, observed, more in said:
        marks.hear(vector(partition, progress, 2, auditd=(observed, observed + more)))
        at = mark(marks.view())
        assert at >= seen
        assert at[0] >= seen[0]
        seen = at


@given(st.lists(st.builds(vector, st.integers(0, 1), st.integers(2, 50), st.just(2), auditd=st.integers(0, 50)), max_size=8).flatmap(
    lambda said: st.tuples(st.just(said), st.permutations(said))
))  # fmt: skip
def test_order_and_repetition_do_not_matter(orders: tuple[list[Vector], list[Vector]]) -> None:
    """A vector that is repeated after a crash, or overtaken, changes nothing."""
    one, other = hearer(*orders[0]), hearer(*orders[1], *orders[0])
    assert one.view().marks() == other.view().marks()


def test_it_is_the_minimum_over_partitions() -> None:
    """A quick partition must not close a window for a slow one."""
    assert mark(hearer(vector(0, partitions=2, auditd=90), vector(1, partitions=2, auditd=60)).view()) == (60, 60)


def test_it_waits_until_every_partition_has_spoken() -> None:
    """Nothing has passed while one is missing."""
    marks = hearer(vector(0, partitions=2, auditd=90))
    assert mark(marks.view()) == (0, 0)
    marks.hear(vector(1, partitions=2, auditd=60))
    assert mark(marks.view()) == (60, 60)


def test_it_waits_for_every_topic_upstream() -> None:
    """Facts of the hosts may still hold back what ingest has passed."""
    marks = hearer(vector(auditd=90), upstream=(TOPIC, "facts.host"))
    assert mark(marks.view()) == (0, 0)
    marks.hear(vector(topic="facts.host", progress=80, auditd=70))
    assert mark(marks.view()) == (70, 70)


def test_a_family_that_a_partition_never_saw_is_held_back_by_its_progress() -> None:
    """It may still have such records behind what it read."""
    marks = hearer(vector(0, partitions=2, auditd=90, sshd=70), vector(1, progress=80, partitions=2, auditd=60))
    assert (mark(marks.view()), mark(marks.view(), Source.SSHD)) == ((60, 60), (70, 70))
    marks = hearer(vector(0, partitions=2, sshd=90), vector(1, progress=80, partitions=2, auditd=60))
    assert mark(marks.view(), Source.SSHD) == (80, 80)


def test_a_partition_without_progress_holds_everything_back() -> None:
    """It has not read anything yet."""
    marks = hearer(vector(0, partitions=2, auditd=90), vector(1, progress=0, partitions=2))
    assert mark(marks.view()) == (0, 0)


def test_an_empty_partition_holds_nothing_back() -> None:
    """It has no records at all."""
    speaker = Marks(Cases(), 10)
    empty = speaker.speak(TOPIC, 1, 2, empty=True)
    assert empty is not None
    assert empty.progress == EMPTY
    assert mark(hearer(vector(0, partitions=2, auditd=90), empty).view()) == (90, 90)
    behind = hearer(vector(0, partitions=2, auditd=90), empty).speak("facts.host", 0, 1)
    assert behind is not None
    assert (behind.progress, behind.marks) == (100, {AUDITD: (90, 90)})


def test_all_partitions_empty_is_empty() -> None:
    """A stage behind hands that on."""
    said = hearer(vector(0, EMPTY, 2), vector(1, EMPTY, 2)).speak("facts.host", 0, 1)
    assert said is not None
    assert (said.progress, said.marks) == (EMPTY, {})


def test_a_partition_whose_records_were_all_deleted_goes_on_by_its_progress() -> None:
    """It was read, and has been silent since: those behind know its progress, and would wait for more of it for ever."""
    speaker = Marks(Cases(), 10)
    speaker.progress(50)
    before = speaker.speak(TOPIC, 1, 2)
    assert before is not None
    marks = hearer(vector(0, partitions=2, auditd=90), before)
    assert mark(marks.view()) == (50, 50)
    speaker.advance({"": 80})
    behind = speaker.speak(TOPIC, 1, 2, empty=True)
    assert behind is not None
    marks.hear(behind)
    assert mark(marks.view()) == (80, 80)


def test_a_partition_that_was_empty_holds_back_from_its_first_record_on() -> None:
    """Topics are empty when they are made; what has passed stays passed."""
    marks = hearer(vector(0, partitions=2, auditd=60), vector(1, EMPTY, 2))
    assert mark(marks.view()) == (60, 60)
    marks.hear(vector(1, 50, 2))
    marks.hear(vector(0, partitions=2, auditd=90))
    assert mark(marks.view()) == (60, 60)
    marks.hear(vector(1, 70, 2))
    assert mark(marks.view()) == (70, 70)


def test_advanced_time_closes_windows_but_neither_evicts_nor_covers() -> None:
    """Idleness proves nothing."""
    view = hearer(vector(auditd=(60, 90))).view()
    assert (view.joint(C), view.floor(C), view.observed(C, Source.AUDITD)) == (90, 60, 60)
    assert view.passed(C, Source.AUDITD, 90)
    assert not view.covered(C, Source.AUDITD, 60, 90)
    assert not view.heard_within(C, Source.AUDITD, 60, 90)


def test_advanced_time_is_a_minimum_too() -> None:
    """One partition is idle, another lags."""
    marks = hearer(vector(0, partitions=2, auditd=(60, 90)), vector(1, progress=70, partitions=2, auditd=(50, 50)))
    assert mark(marks.view()) == (50, 50)


def test_an_observed_mark_is_at_least_what_idleness_adds() -> None:
    """The family speaks again, later than was guessed."""
    marks = hearer(vector(auditd=(60, 70)))
    marks.hear(vector(auditd=(95, 70)))
    assert mark(marks.view()) == (95, 95)


def test_windows_close_by_the_slowest_prompt_family() -> None:
    """sacct comes by cron: it neither holds back nor evicts."""
    view = hearer(vector(auditd=90, sshd=70, sacct=10)).view()
    assert (view.joint(C), view.floor(C)) == (70, 70)
    assert view.passed(C, Source.SACCT, 10)
    assert not view.passed(C, Source.SACCT, 11)


def test_clusters_do_not_hold_one_another_back() -> None:
    """Each has its own time."""
    marks = hearer(vector(auditd=90))
    marks.hear(Vector(TOPIC, 0, 1, 100, {f"other\x1f{Source.AUDITD}": (5, 5)}))
    assert (marks.view().joint(C), marks.view().joint("other"), marks.view().joint("third")) == (90, 5, 0)


def test_a_family_never_heard_has_not_passed_anything() -> None:
    """Silence is not progress."""
    view = hearer(vector(auditd=90)).view()
    assert (view.known(C, Source.SSHD), view.passed(C, Source.SSHD, 1), NOTHING.joint(C)) == (False, False, 0)


# --- ingest ---------------------------------------------------------------------------------------------------------------------


def ingest(cases: Cases | None = None) -> Marks:
    """Marks of an input partition that read an auditd record at 100, collected at 105, with a bound of 10."""
    marks = Marks(cases if cases is not None else Cases(), 10)
    marks.observe(Observed(C, Source.AUDITD, 100, (90, 100)), 10)
    marks.progress(105)
    return marks


def test_ingest_says_what_it_observed_less_the_bound_of_disorder() -> None:
    """Out of order is not late."""
    assert ingest().speak(TOPIC, 0, 1) == Vector(TOPIC, 0, 1, 105, {AUDITD: (90, 90)}, {AUDITD: [90, 100]})


def test_nothing_new_is_not_said() -> None:
    """Coverage is sent once, marks when they moved."""
    marks = ingest()
    assert marks.speak(TOPIC, 0, 1) is not None
    assert marks.speak(TOPIC, 0, 1) is None
    marks.observe(Observed(C, Source.AUDITD, 95, (90,)), 10)
    assert marks.speak(TOPIC, 0, 1) is None
    marks.progress(106)
    assert marks.speak(TOPIC, 0, 1) == Vector(TOPIC, 0, 1, 106, {AUDITD: (90, 90)}, {})


def test_idleness_is_said_as_advanced_time() -> None:
    """Observed stays what it was."""
    marks = ingest()
    marks.advance({AUDITD: 130, "": 140})
    said = marks.speak(TOPIC, 0, 1)
    assert said is not None
    assert (said.progress, said.marks) == (140, {AUDITD: (90, 130)})


def test_after_a_restart_everything_is_said_again() -> None:
    """The last vector may not have been sent; who hears it twice learns nothing new."""
    cases = Cases()
    marks = ingest(cases)
    said = marks.speak(TOPIC, 0, 1)
    again = Marks(Cases(cases.facts()), 10).speak(TOPIC, 0, 1)
    assert again == said
    assert again is not None
    hearing = hearer(again)
    before = (hearing.view().marks(), hearing.speak("facts.host", 0, 1))
    hearing.hear(again)
    assert (hearing.view().marks(), hearing.speak("facts.host", 0, 1)) == (before[0], None)


def test_a_restart_says_the_newest_coverage_again_and_knows_the_rest() -> None:
    """It was said before the state was written; six weeks of it again would fill the topics at every restart."""
    cases, day = Cases(), 86_400_000
    marks = Marks(cases, 600_000)
    heard = tuple(range(0, 10 * day, 600_000))
    marks.observe(Observed(C, Source.AUDITD, 10 * day, heard), 0)
    marks.progress(10 * day)
    assert len(cases.of(COVERAGE)) == 10  # a fact a day
    again = Marks(Cases(cases.facts()), 600_000)
    said = again.speak(TOPIC, 0, 1)
    assert said is not None
    assert said.coverage == {AUDITD: [bucket for bucket in heard if bucket >= heard[-1] - 2 * day]}
    assert again.view().covered(C, Source.AUDITD, 0, 10 * day - 1)
    assert not again.view().covered(C, Source.AUDITD, 0, 10 * day)


def test_much_coverage_is_said_in_portions() -> None:
    """A vector has to fit into a message, or the worker would end at it for ever."""
    marks = Marks(Cases(), 10)
    marks.observe(Observed(C, Source.AUDITD, 100, tuple(range(0, 25 * SAID_MAX, 10))), 0)
    marks.progress(100)
    said = list[int]()
    for room in (SAID_MAX, SAID_MAX, SAID_MAX // 2):
        vector = marks.speak(TOPIC, 0, 1)
        assert vector is not None
        assert len(vector.coverage[AUDITD]) == room
        said += vector.coverage[AUDITD]
    assert sorted(said) == list(range(0, 25 * SAID_MAX, 10))
    assert marks.speak(TOPIC, 0, 1) is None


@pytest.mark.parametrize("width", [600_000, 300_000])
def test_coverage_of_version_1_and_of_another_width_is_read(width: int) -> None:
    """Single buckets, and days of other settings: what starts at a bucket of ours counts."""
    day = 86_400_000
    old = Fact(COVERAGE, f"{AUDITD}\x1f{day}", b"", b"")
    first = Cases([old])
    Marks(first, width).observe(Observed(C, Source.AUDITD, day, (day + 600_000,)), 0)
    marks = Marks(first, 600_000)
    marks.progress(1)
    said = marks.speak(TOPIC, 0, 1)
    assert said is not None
    assert said.coverage == {AUDITD: [day, day + 600_000]}


def test_a_stage_hands_on_the_minimum_and_all_coverage() -> None:
    """Heard is heard: coverage has no minimum over partitions."""
    marks = hearer(
        Vector(TOPIC, 0, 2, 100, {AUDITD: (90, 95)}, {AUDITD: [80, 90]}), Vector(TOPIC, 1, 2, 70, {AUDITD: (60, 60)}, {AUDITD: [50]})
    )
    assert marks.speak("facts.host", 3, 4) == Vector("facts.host", 3, 4, 70, {AUDITD: (60, 60)}, {AUDITD: [50, 80, 90]})


@pytest.mark.parametrize(
    "said", [vector(auditd=90), Vector(TOPIC, 3, 8, EMPTY, {}, {}), Vector(TOPIC, 0, 1, 5, {AUDITD: (1, 2)}, {SSHD: [0, 10]})]
)
def test_vectors_survive_their_encoding(said: Vector) -> None:
    """They travel as bytes."""
    assert decode_vector(encode_vector(said)) == said


# --- coverage -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "start", "end", "covered"),
    [
        ({0, 10, 20}, 5, 25, True),
        ({0, 10, 20}, 0, 29, True),
        ({0, 10, 20}, 0, 30, False),
        ({0, 20}, 5, 25, False),
        ({10}, 10, 10, True),
        (set(), 10, 10, False),
    ],
)
def test_covered_means_every_bucket_that_the_span_touches(heard: set[int], start: int, end: int, covered: bool) -> None:
    """A gap within is a gap."""
    assert buckets_covered(heard, start, end, 10) is covered
    assert Watermarks({}, {(C, Source.AUDITD): frozenset(heard)}, 10).covered(C, Source.AUDITD, start, end) is covered


@pytest.mark.parametrize(("start", "end", "heard"), [(20, 20, True), (11, 20, True), (21, 29, False), (0, 19, False), (0, 25, True)])
def test_heard_within_asks_for_one_bucket_that_begins_there(start: int, end: int, heard: bool) -> None:
    """Both edges included."""
    assert Watermarks({}, {(C, Source.SLURMCTLD): frozenset({20})}, 10).heard_within(C, Source.SLURMCTLD, start, end) is heard


def test_a_bucket_is_named_by_its_start() -> None:
    """Half open."""
    assert [bucket_of(time, 10) for time in (0, 9, 10, 19)] == [0, 0, 10, 10]


def test_coverage_older_than_the_retention_is_forgotten() -> None:
    """By what was observed, once a day; the newer stays, and so does what idleness alone has passed."""
    day = 86_400_000
    cases = Cases()
    marks = Marks(cases, day, (), 2 * day)
    marks.progress(day)
    marks.observe(Observed(C, Source.AUDITD, 3 * day, (day, 3 * day)), 0)
    marks.advance({AUDITD: 90 * day})
    assert marks.view().covered(C, Source.AUDITD, day, day)
    marks.observe(Observed(C, Source.AUDITD, 5 * day, (5 * day,)), 0)
    assert not marks.view().covered(C, Source.AUDITD, day, day)
    assert marks.view().covered(C, Source.AUDITD, 3 * day, 3 * day)
    assert not Marks(Cases(cases.facts()), day).view().covered(C, Source.AUDITD, day, day)


def test_hosts_that_are_gone_for_good_leave_nothing() -> None:
    """Machines come and go under new names: neither memory nor a look at what is heard must grow with all that ever were."""
    day = 86_400_000
    marks = Marks(Cases(), day, (), 2 * day)
    for number in range(1, 10):
        marks.progress(number * day)
        marks.observe(Observed(C, Source.AUDITD, number * day, (number * day,)), 0)
        marks.lose(Lost(C, Source.AUDITD, f"pod-{number}", (number * day,)))
        assert marks.view().lost(C, Source.AUDITD, f"pod-{number}", number * day, number * day)
    assert {key.rpartition("-")[2] for key in marks._heard if "pod" in key} == {"7", "8", "9"}
    assert {key.partition("pod-")[2][:1] for key in marks._cases.of(COVERAGE) if "pod" in key} == {"7", "8", "9"}


# --- what was lost --------------------------------------------------------------------------------------------------------------


def reader() -> Marks:
    """A partition that was read up to 100 and heard auditd and sshd."""
    marks = Marks(Cases(), 10)
    marks.progress(100)
    for source in (Source.AUDITD, Source.SSHD):
        marks.observe(Observed(C, source, 100, (90, 100)), 0)
    return marks


def test_a_loss_travels_with_the_vector() -> None:
    """Of the host alone, in its buckets alone; what was heard stays heard."""
    marks = reader()
    marks.lose(Lost(C, Source.AUDITD, "gpu-001", (90,)))
    said = marks.speak(TOPIC, 0, 1)
    assert said is not None
    view = hearer(decode_vector(encode_vector(said))).view()
    assert view.lost(C, Source.AUDITD, "gpu-001", 85, 95)
    assert not view.lost(C, Source.AUDITD, "gpu-001", 100, 120)
    assert not view.lost(C, Source.AUDITD, "gpu-002", 85, 95)
    assert not view.lost(C, Source.SSHD, "gpu-001", 85, 95)
    assert view.covered(C, Source.AUDITD, 90, 105)


def test_what_nobody_read_is_lost_to_all_hosts_and_families() -> None:
    """From what was read before to what was read next."""
    marks = reader()
    before, _ = marks.reached()
    marks.progress(200)
    marks.lose_all(before, marks.reached()[1])
    view = marks.view()
    assert all(view.lost(C, source, "gpu-001", 150, 155) for source in (Source.AUDITD, Source.SSHD))
    assert not view.lost(C, Source.AUDITD, "gpu-001", 50, 75)


def test_a_loss_survives_a_restart() -> None:
    """It is a fact, as what was heard is."""
    marks = reader()
    marks.lose(Lost(C, Source.AUDITD, "", (90,)))
    again = Marks(Cases(marks._cases.facts()), 10)
    assert again.view().lost(C, Source.AUDITD, "gpu-001", 90, 90)
    assert again.own_marks() == marks.own_marks()


@given(st.sampled_from([60_000, 600_000, 3_600_000]), st.lists(st.integers(0, 400)), st.integers(0, 4 * 86_400_000), st.integers(-1, 10**8))
def test_whether_something_was_heard_within_a_time_is_told_by_the_day(width: int, numbers: list[int], start: int, length: int) -> None:
    """A week in one look for each day of it."""
    heard = Buckets(width)
    for number in numbers:
        heard.add(number * width)
    expected = any(start <= number * width <= start + length for number in numbers)
    assert heard.any_within(start, start + length) is expected
    for coverage in (heard, frozenset(heard)):
        view = Watermarks({}, {(C, Source.AUDITD): coverage}, width)
        assert view.heard_within(C, Source.AUDITD, start, start + length) is expected
