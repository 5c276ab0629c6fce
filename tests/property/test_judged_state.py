"""Jobs and artefacts: the last words are those of a stage that is told everything once, in order, and never ends.

    machine   `jobs.step` and `artefacts.step` over random batches in any order, facts again and again, watermarks that move at any time,
              restarts from the state log, with and without what was folded since the last checkpoint
    model     the same step, once, over all facts that were told, with the watermarks of the end

What is published leaves with a checkpoint, before its state is durable: a worker may die in between.
"""

from collections.abc import Sequence
from itertools import pairwise

import orjson
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pipeline.artefacts import step as artefacts
from pipeline.jobs import step as jobs
from pipeline.model.facts import VOID, Fact, job_case
from pipeline.model.ids import rank
from pipeline.model.outcome import Outcome, Publish, Tell
from pipeline.model.source import Source
from pipeline.model.told import ArtefactUse, decode_told
from pipeline.runtime.partition import Partition
from pipeline.runtime.partition import Source as InputPartition
from pipeline.runtime.state_record import Owner
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import build_topology
from tests import build
from tests.build import (
    CLUSTER,
    DAY,
    JOB,
    OTHER,
    OWNER,
    PATH,
    SERVICE,
    allocation,
    attempt,
    cancel_request,
    coverage,
    error_line,
    fact,
    hook,
    imported,
    iteration,
    job_end,
    job_record,
    kill,
    load,
    now,
    oom,
    rank_failed,
    requested,
    save,
    scancel,
    spawned,
    to_artefact,
    touch,
    unpickled,
    uses,
    write,
)
from tests.property.durable import Durable
from tests.property.profile import examples

SETTINGS = build.settings()
KEY, OTHERS_KEY = job_case(CLUSTER, JOB), job_case(CLUSTER, "8")
SECOND = attempt(start=300, submit=200)
KILL = touch(kill(97))
FAMILIES = (Source.AUDITD, Source.KERNEL, Source.SSHD)

# One job id with two attempts, and another job; what hosts tell grows, is taken back and is told anew.
JOBS: dict[str, Fact] = {
    "start": fact(allocation()),
    "running": fact(job_record(50, "other", state="RUNNING")),
    "touch 1": fact(KILL, "touch", rank=rank(1)),
    "touch 2, void": Fact(KEY, "touch", rank(2), VOID),
    "touch 3": fact(KILL, "touch", rank=rank(3)),
    "touch 4, void": Fact(KEY, "touch", rank(4), VOID),
    "killed by the owner": fact(touch(kill(96, auid=OWNER, uid=OWNER))),
    "out of memory": fact(touch(oom(95))),
    "failed rank": fact(rank_failed(98)),
    "error": fact(error_line(60)),
    "iteration 1": fact(iteration(10), "iteration/1", rank=rank(10)),
    "iteration 2": fact(iteration(20), "iteration/1", rank=rank(20)),
    "cancel by a colleague": fact(cancel_request(98)),
    "cancel by the owner": fact(cancel_request(97, OWNER)),
    "cancel by the service": fact(cancel_request(96, SERVICE)),
    "scancel": fact(scancel(97)),
    "end, failed": fact(job_end(100)),
    "end, says sacct": fact(job_end(100, "CANCELLED", source=Source.SACCT, cancelled_by_uid=OWNER)),
    "second start": fact(allocation(300, submit=200)),
    "second end": fact(job_end(400, "COMPLETED", submit=200, start=300)),
    "second kill": fact(touch(kill(397), of=SECOND)),
    "load": fact(uses(load(50), save(10), write(40))[0], "use"),
    "load, saved": fact(uses(load(50), save(10), write(40))[1], "use saved"),
    "load, written": fact(uses(load(50), save(10), write(40))[2], "use written"),
    **{
        f"{name}, {number}": fact(use, f"{name} {number}")
        for name, load_of, before in (
            ("import", imported(30), (imported(10, "a", job="6"), write(20, path=build.MODULE))),
            ("hook", hook(5), (write(2, path=build.HOOK),)),
            ("resumed", load(15, "a", path="/ckpt/u012/step50.pt"), (save(3, path=PATH, job="6"), write(4, action="removed"))),
        )
        for number, use in enumerate(uses(load_of, *before))
    },
    "signal requested": fact(requested(97)),
    "unpickled": fact(unpickled(51)),
    "shell": fact(spawned(55, "id; curl http://192.0.2.7", means="os.system")),
    "8: start": fact(allocation(10, job="8"), case=OTHERS_KEY),
    "8: end": fact(job_end(90, "CANCELLED", job="8", start=10), case=OTHERS_KEY),
    "8: cancel": fact(cancel_request(89, OTHER, job="8"), case=OTHERS_KEY),
    **{
        f"{source} heard from {since}": fact(coverage(source, since, 3_000), f"coverage/{source}", rank=rank(-since))
        for source in FAMILIES
        for since in (-1_000, -5_000)
    },
}  # fmt: skip
ARTEFACTS: dict[str, Fact] = {
    **{f"{name} {at} {path}": to_artefact(made(at, path=path), path)
       for path in ("/ckpt/a.pt", "/ckpt/b.pt")
       for at in (-3 * DAY, 10, 20, 30, 40, DAY)
       for name, made in (("save", save), ("load", load), ("write", write))},
    **{f"save of job 8 {at}": to_artefact(save(at, job="8", path="/ckpt/a.pt"), "/ckpt/a.pt") for at in (15, 25, 35)},
}  # fmt: skip
END = 6 * DAY  # all windows have closed, nothing is as old as its retention


class Machine(RuleBasedStateMachine):
    """One partition of a keyed stage."""

    facts: dict[str, Fact]

    @initialize()
    def begin(self) -> None:
        self.durable = Durable()
        self.known: dict[str, None] = {}
        self.unsaved: list[str] = []
        self.waiting: list[Outcome] = []  # for the next checkpoint
        self.said: list[Outcome] = []
        self.until = 0.0
        self._open()

    def _open(self) -> None:
        self.state = self.build(self.durable.cases)
        self._step(())  # a take-over wakes the stage

    @rule(data=st.data(), size=st.integers(1, 8))
    def facts_come(self, data: st.DataObject, size: int) -> None:
        """In any order, some for the second time."""
        self._take(data.draw(st.lists(st.sampled_from(sorted(self.facts)), min_size=size, max_size=size)))

    @rule(until=st.sampled_from([60, 120, 221, 500, 4_000, 5_000, DAY, 4 * DAY]))
    def time_passes(self, until: float) -> None:
        """Windows close, what is settled or quiet is packed."""
        self.until = max(self.until, until)
        self._take([])

    @rule()
    def save(self) -> None:
        """A checkpoint: publish, then make durable."""
        self.said += self.waiting
        self.durable.save()
        self.unsaved, self.waiting = [], []

    @precondition(lambda self: self.unsaved)
    @rule(data=st.data(), published=st.booleans())
    def crash(self, data: st.DataObject, published: bool) -> None:
        """What was not saved is read again, in batches of other sizes, and what has come meanwhile behind it.

        If it was published, the open intent says how far: that much is judged by itself, and leaves, before anything else is folded.
        """
        if published:
            self.said += self.waiting
            event("published before a crash")
        self.waiting = []
        self.durable.reopen()
        self._open()
        again, self.unsaved = data.draw(st.permutations(self.unsaved)), []
        more = data.draw(st.lists(st.sampled_from(sorted(self.facts)), max_size=4))
        cuts = data.draw(st.lists(st.integers(0, len(again)), max_size=3))
        for start, end in pairwise([0, *sorted(cuts), len(again)]):
            self._take([*again[start:end], *(more if end == len(again) and not published else [])])
        if published:
            self.save()
            self._take(more)

    @rule()
    def restart(self) -> None:
        """An orderly one: nothing is read again."""
        self.save()
        self.durable.reopen()
        self._open()

    def teardown(self) -> None:
        """The same facts, once, in order, in one batch."""
        if not hasattr(self, "durable"):
            return
        self.until = END
        self._take([])
        self._step(())  # what is left of a sweep
        self.save()
        alone = self.build(Cases())
        outcomes = self.step(alone, [self.facts[name] for name in self.facts if name in self.known], now(END))
        assert self.last_words(self.said) == self.last_words(outcomes)

    def _take(self, names: Sequence[str]) -> None:
        self.known.update(dict.fromkeys(names))
        self.unsaved += names
        self._step([self.facts[name] for name in names])

    def _step(self, batch: Sequence[Fact]) -> None:
        self.waiting += self.step(self.state, batch, now(self.until))

    # --- of the stage

    def build(self, cases: Cases) -> object:
        """Its state."""
        raise NotImplementedError

    def step(self, state: object, batch: Sequence[Fact], view: Watermarks) -> list[Outcome]:
        """What it answers."""
        raise NotImplementedError

    def last_words(self, said: Sequence[Outcome]) -> object:
        """What is left of what was said."""
        raise NotImplementedError


class Jobs(Machine):
    """Last canonical body of each finding and verdict; retracted equals never raised."""

    facts = JOBS

    def build(self, cases: Cases) -> object:
        return jobs.build_state(SETTINGS, cases)

    def step(self, state: object, batch: Sequence[Fact], view: Watermarks) -> list[Outcome]:
        assert isinstance(state, jobs.JobsState)
        return jobs.step(state, batch, view)[1]

    def last_words(self, said: Sequence[Outcome]) -> object:
        last = {}
        for out in said:
            if isinstance(out, Tell):  # the summary of an attempt, and the same findings
                continue
            assert isinstance(out, Publish)
            if out.content != "enriched":
                value = orjson.loads(out.value)
                body = value["canonical"] if out.content == "verdicts" else value["unmapped"]["trainwatch"]["canonical"]
                last[body["id"]] = body
        return {name: body for name, body in last.items() if body["status"] != "retracted"}


class Artefacts(Machine):
    """What the judge goes by: of each load, the last save and the writes behind it."""

    facts = ARTEFACTS

    def build(self, cases: Cases) -> object:
        return artefacts.build_state(SETTINGS, cases)

    def step(self, state: object, batch: Sequence[Fact], view: Watermarks) -> list[Outcome]:
        assert isinstance(state, artefacts.ArtefactsState)
        return artefacts.step(state, batch, view)[1]

    def last_words(self, said: Sequence[Outcome]) -> object:
        history: dict[str, list[tuple[int, str, str]]] = {}
        for out in said:
            assert isinstance(out, Tell)
            use = decode_told(out.fact.body)
            assert isinstance(use, ArtefactUse)
            known = history.setdefault(use.load.id, [])
            if use.before is not None:
                known.append((use.before.event_time, type(use.before.body).__name__, use.before.id))
        seen = {}
        for loaded, known in history.items():
            last = max((each for each in known if each[1] == "CheckpointSaved"), default=(0, "", ""))
            seen[loaded] = last, {each for each in known if each[1] == "FileTouched" and each[0] > last[0]}
        return seen


def test_what_was_published_before_a_crash_is_judged_by_itself_again() -> None:
    """Else a finding that was published, and that a fact behind it takes back, would never be retracted: an open intent says how far."""
    stage = build_topology(SETTINGS).stage_of("trainwatch.facts.job.v1")
    part = Partition(InputPartition("trainwatch.facts.job.v1", 0), stage, SETTINGS, Owner(1, 1, "n"))
    part.adopt(0, 1_000, "life")
    part.published.append(Publish("findings", b"key", "id", b"value"))
    part.folded([build.record(b"", 0), build.record(b"", 1)], ())
    work = part.snapshot()
    assert work is not None
    assert part.intend(work, {})
    assert work.intent is not None
    assert (work.intent.lo, work.intent.hi) == (0, 2)
    assert part.intent_write(work) is not None
    assert work.range_row("life") is None  # nothing went into a table


TestJobs = Jobs.TestCase
TestJobs.settings = examples(60, steps=15)
TestArtefacts = Artefacts.TestCase
TestArtefacts.settings = examples(80, steps=15)
