"""Marks against a naive model: everything that was ever heard is kept, and each question is answered from scratch.

    heard      every vector, of two topics with up to three partitions each
    model      per family the least of what each partition said; what a partition never said counts as its progress
    machine    a stage that hears, an ingest partition that observes; both restart from their state log at any moment

Coverage is a plain set in the model: heard once is heard for ever, here and in every stage behind.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Observed
from pipeline.model.source import Source
from pipeline.stream.watermark import EMPTY, NEVER, SEPARATOR, Marks, Vector
from tests.property.durable import Durable
from tests.property.profile import examples

BUCKET_MS = 600_000
CLUSTER = "main"
FAMILIES = (Source.AUDITD, Source.SSHD, Source.SACCT)
TOPICS = ("logs.access", "facts.host")
T0 = 20_000 * DAY_MS

times = st.integers(T0 + 1, T0 + 40)
buckets = st.lists(st.integers(0, 400).map(lambda number: T0 + number * BUCKET_MS), max_size=3)
said = st.dictionaries(st.sampled_from(FAMILIES), st.tuples(times, times).map(lambda pair: (min(pair), max(pair))), max_size=3)


def name(family: Source) -> str:
    return f"{CLUSTER}{SEPARATOR}{family}"


class Hearing(RuleBasedStateMachine):
    """A keyed stage: vectors of all partitions upstream, in any order, again and again."""

    @initialize(partitions=st.tuples(st.integers(1, 3), st.integers(1, 2)))
    def begin(self, partitions: tuple[int, int]) -> None:
        self.partitions = dict(zip(TOPICS, partitions, strict=True))
        self.said: dict[tuple[str, int], list[Vector]] = {}
        self.unsaved: list[Vector] = []
        self.durable = Durable()
        self.before: dict[tuple[str, Source], tuple[int, int]] = {}  # what had passed
        self.saved = self.before  # the same, at the last checkpoint
        self._restart()

    def _restart(self) -> None:
        self.marks = Marks(self.durable.cases, BUCKET_MS, TOPICS)

    @rule(data=st.data(), progress=st.just(EMPTY) | times, marks=said, covered=st.dictionaries(st.sampled_from(FAMILIES), buckets))
    def hear(self, data: st.DataObject, progress: int, marks: dict[Source, tuple[int, int]], covered: dict[Source, list[int]]) -> None:
        """A partition speaks; one that has read nothing has nothing to say of any family."""
        topic = data.draw(st.sampled_from(TOPICS))
        partition = data.draw(st.integers(0, self.partitions[topic] - 1))
        if progress == EMPTY:
            marks = {}
        vector = Vector(
            topic,
            partition,
            self.partitions[topic],
            progress,
            {name(family): pair for family, pair in marks.items()},
            {name(family): each for family, each in covered.items()},
        )
        self.said.setdefault((topic, partition), []).append(vector)
        self._hear(vector)

    def _hear(self, vector: Vector) -> None:
        self.unsaved.append(vector)
        self.marks.hear(vector)

    @rule(data=st.data())
    def hear_again(self, data: st.DataObject) -> None:
        """A vector is repeated after a crash upstream, or was overtaken."""
        if vectors := [each for several in self.said.values() for each in several]:
            self._hear(data.draw(st.sampled_from(vectors)))

    @rule()
    def save(self) -> None:
        """A checkpoint."""
        self.durable.save()
        self.saved = self.before
        self.unsaved.clear()

    @rule(turned=st.booleans())
    def crash(self, turned: bool) -> None:
        """What was heard since the last checkpoint is read again, not always in the same order."""
        self.durable.reopen()
        self._restart()
        self.before = self.saved
        self.it_is_at_least_what_was_saved()
        again, self.unsaved = self.unsaved[:: -1 if turned else 1], []
        for vector in again:
            self._hear(vector)

    @invariant()
    def it_is_what_a_naive_reader_would_say(self) -> None:
        """Minimum over speakers of the maximum each has said; and it never goes back."""
        if not hasattr(self, "marks"):
            return
        view = self.marks.view()
        for family in FAMILIES:
            key = (CLUSTER, family)
            before = self.before.get(key, (NEVER, NEVER))
            expected = tuple(max(pair) for pair in zip(self._expected(family), before, strict=True))
            assert view.marks().get(key, (NEVER, NEVER)) == expected, family
            heard = {each for vector in self._all() for each in vector.coverage.get(name(family), ())}
            for bucket in range(T0, T0 + 400 * BUCKET_MS, 37 * BUCKET_MS):
                assert view.covered(CLUSTER, family, bucket, bucket) == (bucket in heard)
            for bucket in heard:
                assert view.covered(CLUSTER, family, bucket, bucket + BUCKET_MS - 1)
                assert view.heard_within(CLUSTER, family, bucket, bucket)
        self.before = dict(view.marks())

    def it_is_at_least_what_was_saved(self) -> None:
        """A restart takes nothing back."""
        assert {key: pair for key, pair in self.marks.view().marks().items() if pair[1]} == {k: v for k, v in self.saved.items() if v[1]}

    def _all(self) -> list[Vector]:
        return [each for several in self.said.values() for each in several]

    def _expected(self, family: Source) -> tuple[int, int]:
        """The least over all partitions of both topics."""
        observed, advanced = [], []
        for topic, count in self.partitions.items():
            for partition in range(count):
                vectors = self.said.get((topic, partition), [])
                progress = max((vector.progress for vector in vectors), default=NEVER)
                if progress == NEVER:
                    return NEVER, NEVER
                pairs = [vector.marks[name(family)] for vector in vectors if name(family) in vector.marks]
                if pairs:
                    observed.append(max(pair[0] for pair in pairs))
                    advanced.append(max(pair[1] for pair in pairs))
                elif progress != EMPTY:
                    observed.append(progress)
                    advanced.append(progress)
        known = any(name(family) in vector.marks for vector in self._all())
        return (min(observed), min(advanced)) if known and observed else (NEVER, NEVER)


class Speaking(RuleBasedStateMachine):
    """An ingest partition, and a stage behind it: what one observed is what the other hears, whoever crashes in between."""

    @initialize()
    def begin(self) -> None:
        self.observed: dict[Source, int] = {}
        self.heard: dict[Source, set[int]] = {}
        self.progress = 0
        self.ingest, self.stage = Durable(), Durable()
        self.again: list[tuple[Source, int, list[int]]] = []
        self._open()

    def _open(self) -> None:
        self.speaker, self.hearer = Marks(self.ingest.cases, BUCKET_MS), Marks(self.stage.cases, BUCKET_MS, TOPICS[:1])

    @rule(family=st.sampled_from(FAMILIES), time=times, bound=st.integers(0, 20), covered=buckets)
    def observe(self, family: Source, time: int, bound: int, covered: list[int]) -> None:
        """A batch is read."""
        self.observed[family] = max(self.observed.get(family, 0), time - bound)
        self.heard.setdefault(family, set()).update(covered)
        self.progress = max(self.progress, time)
        self.again.append((family, time - bound, covered))
        self._observe(family, time - bound, covered)
        self.speaker.progress(self.progress)

    def _observe(self, family: Source, time: int, covered: list[int]) -> None:
        self.speaker.observe(Observed(CLUSTER, family, time, tuple(covered)), 0)

    @rule()
    def checkpoint(self) -> None:
        """Vectors are awaited before the state is written; the stage behind saves what it heard."""
        if (vector := self.speaker.speak(TOPICS[0], 0, 1)) is not None:
            self.hearer.hear(vector)
        self.stage.save()
        self.ingest.save()
        self.again.clear()

    @rule()
    def nothing_new_is_not_said(self) -> None:
        """Speaking twice says nothing the second time."""
        if (vector := self.speaker.speak(TOPICS[0], 0, 1)) is not None:
            self.hearer.hear(vector)
        assert self.speaker.speak(TOPICS[0], 0, 1) is None
        self.stage.save()

    @rule()
    def crash_of_ingest(self) -> None:
        """It reads again what it had not saved."""
        self.ingest.reopen()
        self.speaker = Marks(self.ingest.cases, BUCKET_MS)
        for each in self.again:
            self._observe(*each)
        if self.again:
            self.speaker.progress(self.progress)

    @rule()
    def crash_of_the_stage(self) -> None:
        """It had saved all that it heard, or hears it again."""
        self.stage.reopen()
        self.hearer = Marks(self.stage.cases, BUCKET_MS, TOPICS[:1])

    def teardown(self) -> None:
        """After one more checkpoint the stage knows all that was observed, and no more."""
        if not hasattr(self, "ingest"):
            return
        self.checkpoint()
        view = self.hearer.view()
        assert {family: pair[0] for (_, family), pair in view.marks().items() if pair[0]} == self.observed
        for family in FAMILIES:
            for bucket in range(T0, T0 + 401 * BUCKET_MS, BUCKET_MS):
                assert view.covered(CLUSTER, family, bucket, bucket) == (bucket in self.heard.get(family, set()))


TestHearing = Hearing.TestCase
TestHearing.settings = examples(60)
TestSpeaking = Speaking.TestCase
TestSpeaking.settings = examples(60)
