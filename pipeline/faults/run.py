"""One fault and one seed in; what was lost, doubled or judged otherwise, and whether the fault bit, out.

    simulate ─► prepare ─► feed starts ─► act: the fault ─► the rest is fed ─► a worker ends the work ─► account

`Run` is what a fault gets in hand: dice, feed, workers, servers, proxy, and waits with an end.  Workers that die by the fault's doing are
started again, as a supervisor would; a worker that ends with an error where the fault gives no reason for it makes the run wrong.

Holds: the same fault, seed and attempt draw the same dice; every wait has an end; all processes are gone when `execute` returns.
"""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from aiokafka.errors import KafkaError as FeedError
from kafka.errors import KafkaError

from pipeline.errors import TrainwatchError, require
from pipeline.faults import account
from pipeline.faults.feed import Feed
from pipeline.faults.proxy import Proxy
from pipeline.faults.servers import Servers
from pipeline.faults.site import RETRIED, STOP_SECONDS, Process, Site, as_records, simulated, wait
from pipeline.model.outcome import Record
from pipeline.runtime.following import caught_up
from pipeline.simulate import Week

PATIENCE_SECONDS = 240.0  # far more than a busy machine needs: no result hangs on it
LOOK_SECONDS = 0.2
RESTARTS_MAX = 12
LOG_CHARACTERS = 6000


class Stuck(TrainwatchError):
    """Something that a run waits for does not come."""


class NotBitten(TrainwatchError):
    """The fault could not be brought about; nothing is known of the product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One entry of the table."""

    name: str
    does: str
    bites: str  # how we know that it bit
    act: "Callable[[Run], None]"
    bit: "Callable[[Run], bool]"
    prepare: "Callable[[Run], None] | None" = None  # changes what is sent, before anything is
    seconds: float = 3.0  # over which the records are fed
    share: float = 1.0  # of them that may leave before `act` allows more
    breaks_servers: bool = False
    proxied: bool = False  # workers reach ClickHouse through a proxy
    may_crash: bool = False  # workers may end with an error
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of settings


class Result(msgspec.Struct, kw_only=True):
    """One run, as it is noted."""

    fault: str
    seed: int
    attempt: int
    bit: bool
    records: int
    replayed: int  # offsets that ingest folded more than once
    take_overs: int
    restarts: int
    crashes: int
    retries: int  # of inserts
    lost: int
    doubled: int
    findings: int
    findings_equal: bool
    verdicts_equal: bool
    seconds: float
    wrong: list[str] = []
    incidents_equal: bool | None = None  # None: not compared

    @property
    def right(self) -> bool:
        return not self.wrong


class Run:
    """What a fault gets in hand."""

    def __init__(self, fault: Fault, site: Site, servers: Servers, dice: Random, records: list[Record]) -> None:
        self.fault, self.site, self.servers, self.dice = fault, site, servers, dice
        self._fed: list[Record] | None = None  # what goes to Kafka, when that is more than is read
        self.sent = records  # what is read from it; `prepare` may change it
        self.judged = records  # what findings must follow from
        self.codes: Counter[str] = Counter()  # listed by the fault's doing, beyond what memory lists
        self.gone: set[account.At] = set()  # offsets deleted before they were read
        self.deleted: set[account.At] = set()  # offsets deleted after they were read
        self.doubts = False  # what was deleted had been told before: who reads on cannot know
        self.seen: Counter[str] = Counter()  # whatever shows that the fault bit
        self.owned_up = 0  # bodies that say what they miss, where records were lost
        self.died: dict[str, int] = {}  # step at which a worker was killed -> how many batches were folded until then
        self.transactions = False
        self.restarts = self.crashes = 0
        self.proxy: Proxy | None = None
        self._feed: Feed | None = None
        self._expected_ends: set[int] = set()  # pids of which the fault knows

    # --- input

    @property
    def fed(self) -> list[Record]:
        """What goes to Kafka: what is sent, unless a fault sends more."""
        return self.sent if self._fed is None else self._fed

    @fed.setter
    def fed(self, records: list[Record]) -> None:
        self._fed = records

    @property
    def through(self) -> Proxy:
        """The way to ClickHouse."""
        require(self.proxy is not None, "the fault asks for no proxy")
        return self.proxy  # type: ignore[return-value]

    @property
    def feed(self) -> Feed:
        if self._feed is None:
            settings = self.site.settings
            self._feed = Feed(
                settings.kafka.bootstrap_servers,
                settings.kafka.partitions,
                self.fed,
                self.fault.seconds,
                settings.kafka.input_topics,
                self.dice if self.transactions else None,
            )
        return self._feed

    # --- workers

    def start(self, *, instance: str = "w1", **spec: Any) -> Process:
        """A worker, under a name of its own or none; see `Site.start`."""
        return self.site.start(instance=instance, **spec)

    def kill(self, worker: Process) -> None:
        """SIGKILL."""
        self._expected_ends.add(worker.pid)
        worker.signal(signal.SIGKILL)
        worker.wait(STOP_SECONDS)

    def stop(self, worker: Process) -> None:
        """SIGTERM; an exit code other than 0 makes the run wrong, but for a worker that was not there yet: it has no handler."""
        self._expected_ends.add(worker.pid)
        worker.signal(signal.SIGTERM)
        code = worker.wait(STOP_SECONDS)
        if code != 0 and not (code == -signal.SIGTERM and not worker.take_overs()):
            raise Stuck(f"SIGTERM ended a worker with code {code}\n{worker.log()[-LOG_CHARACTERS:]}")

    def dies(self, worker: Process, by: int = signal.SIGKILL) -> None:
        """Wait until a worker has ended itself by a signal."""
        self._expected_ends.add(worker.pid)
        try:
            code = worker.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Stuck(f"the step was not reached\n{worker.log()[-LOG_CHARACTERS:]}") from error
        if code != -by:
            raise Stuck(f"a worker ended with code {code} before its step\n{worker.log()[-LOG_CHARACTERS:]}")

    def ends(self, worker: Process) -> int:
        """Wait until a worker has ended by itself, whatever the code."""
        self._expected_ends.add(worker.pid)
        return worker.wait(PATIENCE_SECONDS)

    def ends_in_order(self, worker: Process, step: str) -> None:
        """Wait until a worker that was told to stop at a step has ended with exit code 0."""
        code = self.ends(worker)
        if code != 0:
            raise Stuck(f"SIGTERM at {step} ended a worker with code {code}\n{worker.log()[-LOG_CHARACTERS:]}")

    def takes_over(self, worker: Process, times: int = 1) -> None:
        """Wait until a worker has taken partitions over so often."""
        self.until(lambda: worker.take_overs() >= times, "the take-over", of=worker)

    def folds(self, worker: Process, batches: int = 1) -> None:
        """Wait until a worker has folded some more batches."""
        before = self.site.folded_by(worker)
        self.until(lambda: self.site.folded_by(worker) >= before + batches, "the first batch", of=worker)

    # --- waits

    def pause(self, low: float, high: float) -> None:
        """A random while."""
        wait(self.dice.uniform(low, high))

    def until(self, reached: Callable[[], bool], what: str, *, of: Process | None = None) -> None:
        """Raises Stuck."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            ended = of is not None and not of.alive
            if ended or time.monotonic() > deadline:
                text = (of.log() if of else self.site.logs())[-LOG_CHARACTERS:]
                raise Stuck(f"{what} was not reached{' before the worker ended' if ended else ''}\n{text}")
            wait(LOOK_SECONDS)

    # --- the end

    def finish(self) -> None:
        """Feed the rest, let workers end the work, stop them in order; again, if one that had been frozen said more on its way out."""
        self.feed.finish()
        deadline = time.monotonic() + PATIENCE_SECONDS
        ended = False
        while not ended:
            self.keep_alive()
            while self._unread() or not self.site.done():
                if time.monotonic() > deadline:
                    log = self.site.processes[-1].log()[-LOG_CHARACTERS:]
                    raise Stuck(f"the end of the input was not reached: {self._left()}\n{log}")
                wait(LOOK_SECONDS)
                self.keep_alive()
            for worker in self.site.processes:
                if worker.alive:
                    self.stop(worker)
            ended = self.site.done()
        self._count_crashes()

    def _unread(self) -> dict[tuple[str, int], tuple[int, int]]:
        """(offset behind the last finished range, last record) of each partition in which that record is in none."""
        last = {(topic, partition): offset for _, (topic, partition, offset) in self.feed.placed}
        reached = self.site.reached()
        return {at: (reached.get(at, 0), offset) for at, offset in last.items() if reached.get(at, 0) <= offset}

    def _left(self) -> str:
        """For whoever looks for the reason."""
        with suppress(KafkaError):
            backlog = caught_up(self.site.settings, self.site.topology)
            return f"in no finished range {self._unread()}, {backlog}"
        return f"in no finished range {self._unread()}, and the broker does not answer"

    def keep_alive(self) -> None:
        """What a supervisor does: a worker there must be."""
        if any(worker.alive for worker in self.site.processes):
            return
        self._count_crashes()
        if self.restarts >= RESTARTS_MAX:
            raise Stuck(f"{self.restarts} workers ended\n{self.site.processes[-1].log()[-LOG_CHARACTERS:]}")
        self.restarts += 1
        self.start()

    def _count_crashes(self) -> None:
        for worker in self.site.processes:
            if not worker.alive and worker.code != 0 and worker.pid not in self._expected_ends:
                self._expected_ends.add(worker.pid)
                self.crashes += 1
                if not self.fault.may_crash:
                    raise Stuck(f"a worker ended with code {worker.code}\n{worker.log()[-LOG_CHARACTERS:]}")

    # --- what can be told of the fault

    def replayed(self) -> int:
        """Offsets that ingest folded more than once."""
        return sum(times > 1 for times in self.site.folded().values())

    def replayed_behind(self) -> set[str]:
        """The steps after whose kill something was folded again."""
        return {step for step, at in self.died.items() if self.site.folded(until=at).keys() & self.site.folded(since=at).keys()}

    def retries(self) -> int:
        """Inserts that were tried again."""
        return self.site.logs().count(RETRIED)

    def take_overs(self) -> int:
        """Of all workers together."""
        return sum(worker.take_overs() for worker in self.site.processes)


def execute(fault: Fault, seed: int, attempt: int, servers: Servers, folder: Path, week: Week | None = None) -> Result:
    """One run, of a simulated day unless a `week` is given.  `folder` keeps the logs."""
    servers.up()  # a run that went wrong may have left one dead, and the next is not to fail by that
    begun = time.monotonic()
    dice = Random(f"{fault.name}/{seed}/{attempt}")
    week = week or simulated(seed + 1000 * attempt)
    with Site(servers.settings, week, folder, fault.changes) as site:
        run = Run(fault, site, servers, dice, as_records(week, site.settings))
        found, missed = account.Account(), ""
        try:
            carry_out(run)
            gone, deleted = frozenset(run.gone), frozenset(run.deleted)
            found = account.take(site, run.sent, run.judged, codes=run.codes, gone=gone, deleted=deleted, doubts=run.doubts)
            run.owned_up = found.owned_up
        except NotBitten as why:
            missed = str(why)
        except (TrainwatchError, TimeoutError, KafkaError, FeedError, subprocess.TimeoutExpired) as error:
            found.wrong = [*found.wrong, f"{type(error).__name__}: {error}"]
        finally:
            run.feed.stop()
            if run.proxy is not None:
                run.proxy.close()
        # A run that went wrong counts, whatever bit.
        bit = not missed and bool(found.findings) and fault.bit(run)
        return Result(
            fault=fault.name,
            seed=seed,
            attempt=attempt,
            bit=bit,
            records=found.records,
            replayed=run.replayed(),
            take_overs=run.take_overs(),
            restarts=run.restarts,
            crashes=run.crashes,
            retries=run.retries(),
            lost=found.lost,
            doubled=found.doubled,
            findings=found.findings,
            findings_equal=found.findings_equal,
            verdicts_equal=found.verdicts_equal,
            incidents_equal=found.incidents_equal,
            seconds=round(time.monotonic() - begun, 1),
            wrong=found.wrong,
        )


def carry_out(run: Run) -> None:
    """The fault, and the end of the work."""
    fault, site = run.fault, run.site
    if fault.prepare is not None:
        fault.prepare(run)
    if fault.proxied:
        run.proxy = Proxy(site.settings.clickhouse.port, site.settings.clickhouse.host)
        through = site.settings.clickhouse.model_copy(update={"host": "127.0.0.1", "port": run.proxy.port})
        site.write_settings(site.settings.model_copy(update={"clickhouse": through}))
    run.feed.start(fault.share)
    fault.act(run)
    run.finish()
