"""A rate, a length and a seed in; hours of a site under small troubles, watched and then accounted for like any other fault, out.

    feed at the set rate ──► workers a, b ──► ClickHouse          every few seconds: memory, open files, lag, disk
                                 ▲               ▲
          kill, stop, join, freeze, rotate     slow, cut, retention        one trouble after the other, drawn from the seed

Worker `a` is left alone by everything that would end it, so that its memory and open files tell of hours; the others come and go.
Retention deletes what is committed, as a broker does.  At the end comes the account of `execute`: every offset once, the same findings
and verdicts as in memory, and `trainwatch verify`.

Holds: the same seed draws the same troubles in the same order; a trouble that cannot be brought about now is left out, not counted.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
from kafka import KafkaAdminClient, TopicPartition

from pipeline.errors import BrokerUnavailable, TransientError
from pipeline.faults.run import Fault, Result, Run, execute
from pipeline.faults.servers import Servers
from pipeline.faults.site import Process, wait
from pipeline.runtime.offsets import read_offsets
from pipeline.simulate import simulate

RECORDS_A_DAY = 36_500  # of the simulated site: says how many days a soak needs
LOOK_SECONDS = 5.0
PAUSE_SECONDS_MAX = 20.0  # between two troubles
FREEZE_SECONDS = (2.0, 14.0)  # shorter and longer than the session
SESSION_SECONDS = 10.0
SLOW_SECONDS = (0.1, 0.6)  # every answer of ClickHouse
STARTED = 3  # take-overs that the start of two workers brings
FILES_MORE_MAX = 32  # open files beyond those at the middle of the run, above which they leak
MEMORY_BYTES_A_RECORD_MAX = 100  # of growth in the second half; two hours at 150 a second came to 33, of state that is kept for weeks
MEMORY_MIB_AN_HOUR = 20.0  # what no growth looks like at a low rate: the allocator's breath
JUDGED_SECONDS = 3600.0  # a shorter soak cannot tell a leak from a start
LEFT_ALONE_ENDED = "the worker that is left alone ended"
MIB = 1 << 20


class Sample(msgspec.Struct, frozen=True):
    """One look."""

    seconds: float  # since the begin
    resident_mib: float  # of the worker that is left alone
    files: int  # it has open
    lag: int  # records sent and not yet in a finished range
    rows_mib: float  # that ClickHouse holds on disk for this site


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """What a soak found out."""

    result: Result  # its `records` are those that retention has left on the topics
    sent: int
    records_per_second: float
    troubles: dict[str, int]
    samples: Sequence[Sample]

    @property
    def memory_slope_mib_per_hour(self) -> float:
        """Of the second half, by least squares."""
        return slope([(each.seconds / 3600, each.resident_mib) for each in self.settled])

    @property
    def memory_slope_max(self) -> float:
        """What is still called flat, MiB an hour."""
        return max(MEMORY_MIB_AN_HOUR, MEMORY_BYTES_A_RECORD_MAX * self.records_per_second * 3600 / MIB)

    @property
    def flat(self) -> bool | None:
        """Does memory stay where it is?  None: too short to say."""
        if not self.samples or self.samples[-1].seconds - self.samples[0].seconds < 0.9 * JUDGED_SECONDS:
            return None
        return self.memory_slope_mib_per_hour <= self.memory_slope_max

    @property
    def settled(self) -> Sequence[Sample]:
        """The second half: what a start costs is behind it."""
        return self.samples[len(self.samples) // 2 :]

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be."""
        said = list(self.result.wrong)
        if self.settled and (more := self.settled[-1].files - self.settled[0].files) > FILES_MORE_MAX:
            said.append(f"open files grew by {more} in the second half")
        if ended := self.troubles.get(LEFT_ALONE_ENDED, 0):
            said.append(f"{LEFT_ALONE_ENDED}: {ended} looks found it gone")
        if self.result.take_overs <= STARTED:
            said.append("no trouble moved any partition")
        return said


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line with the least squares; 0 where there is none."""
    if len(points) < 2:
        return 0.0
    middle_x, middle_y = (sum(each[axis] for each in points) / len(points) for axis in (0, 1))
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


def soak(servers: Servers, folder: Path, *, seconds: float, rate: float, seed: int, say: Callable[[str], None]) -> Soaked:
    """Run it.  `folder` keeps logs.  What goes wrong stands in the result."""
    seen: Counter[str] = Counter()
    samples: list[Sample] = []

    def act(run: Run) -> None:
        _Soaking(run, seconds, say, seen, samples).carry_on()

    fault = Fault(
        name="soak",
        does=f"small troubles for {seconds:.0f} s at {rate:.0f} records a second",
        bites="partitions went from worker to worker, beyond the two starts",
        act=act,
        bit=lambda run: run.take_overs() > STARTED,
        seconds=seconds,
        proxied=True,
        may_crash=True,  # a frozen worker ends itself when it finds its partitions taken over
        changes={"kafka": {"session_timeout_seconds": SESSION_SECONDS}},
    )
    simulated = simulate(seed, rate * seconds / RECORDS_A_DAY + 1.0)
    week = replace(simulated, records=simulated.records[: int(rate * seconds)])
    result = execute(fault, seed, 0, servers, folder, week=week)
    return Soaked(
        result=result,
        sent=len(week.records),
        records_per_second=len(week.records) / seconds,
        troubles=dict(sorted(seen.items())),
        samples=samples,
    )


class _Soaking:
    """The run while it goes."""

    def __init__(self, run: Run, seconds: float, say: Callable[[str], None], seen: Counter[str], samples: list[Sample]) -> None:
        self._run, self._seconds, self._say, self._seen, self._samples = run, seconds, say, seen, samples
        self._began = time.monotonic()
        self._workers: dict[str, Process] = {}
        self._troubles: Mapping[str, Callable[[], object]] = {
            "kill": self._kill,
            "stop": self._stop,
            "join": self._join,
            "freeze": self._freeze,
            "slow": self._slow,
            "cut": self._cut,
            "retention": self._retention,
            "rotate": self._rotate,
        }

    def carry_on(self) -> None:
        """Until the time is over, and the round that was begun; one at least, however long the workers took to come."""
        for name in "ab":
            self._workers[name] = self._run.start(instance=name)
            self._run.takes_over(self._workers[name])
        self._round()
        while self._elapsed() < self._seconds:
            self._round()
        self._run.through.set("pass")

    def _round(self) -> None:
        """Every trouble once, in an order of its own; a short soak hurries."""
        names, dice = list(self._troubles), self._run.dice
        dice.shuffle(names)
        for name in names:
            left = self._seconds - self._elapsed()
            self._look(min(left, dice.uniform(0.3, 1.0) * min(PAUSE_SECONDS_MAX, self._seconds / (2 * len(names)))))
            if self._troubles[name]() is not False:
                self._seen[name] += 1
            for worker in "ab":
                if not self._workers[worker].alive:
                    self._workers[worker] = self._run.start(instance=worker)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    # --- troubles; one that answers False was not brought about

    def _kill(self) -> None:
        self._run.kill(self._workers["b"])

    def _stop(self) -> None:
        self._run.stop(self._workers["b"])

    def _join(self) -> None:
        joined = self._run.start(instance="c")
        self._run.takes_over(joined)
        self._look(self._run.dice.uniform(2.0, 10.0))
        self._run.stop(joined)

    def _freeze(self) -> None:
        self._workers["b"].signal(signal.SIGSTOP)
        self._look(self._run.dice.uniform(*FREEZE_SECONDS))
        self._workers["b"].signal(signal.SIGCONT)

    def _slow(self) -> None:
        self._run.through.set("slow", self._run.dice.uniform(*SLOW_SECONDS))
        self._look(self._run.dice.uniform(3.0, 10.0))
        self._run.through.set("pass")

    def _cut(self) -> None:
        self._run.through.cut()

    def _retention(self) -> bool:
        """What is committed goes, but for the last tenth."""
        settings = self._run.site.settings
        admin: Any = None
        try:
            offsets = read_offsets(settings.kafka, settings.kafka.input_topics)
            cut = {TopicPartition(each.topic, each.partition): each.committed * 9 // 10 for each in offsets if each.committed}
            if not cut:
                return False
            admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers.split(","))
            admin.delete_records(cut)
        except BrokerUnavailable:
            return False
        finally:
            if admin is not None:
                admin.close()
        self._run.deleted |= {(part.topic, part.partition, offset) for part, end in cut.items() for offset in range(end)}
        return True

    def _rotate(self) -> None:
        for worker in self._workers.values():
            worker.rotate()

    # --- looks

    def _look(self, seconds: float) -> None:
        """Wait, with a look now and then."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            wait(min(left, LOOK_SECONDS))
            if not self._samples or self._elapsed() - self._samples[-1].seconds >= LOOK_SECONDS:
                self._sample()

    def _sample(self) -> None:
        if not self._workers["a"].alive:  # the account tells why; the next round starts another
            self._seen[LEFT_ALONE_ENDED] += 1
            return
        elder = psutil.Process(self._workers["a"].pid)
        reached, site = self._run.site.reached(), self._run.site
        try:
            size = site.database.query(
                "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = %(db)s", {"db": site.settings.clickhouse.database}
            )
        except TransientError:
            return
        with elder.oneshot():
            sample = Sample(
                seconds=round(self._elapsed(), 1),
                resident_mib=round(elder.memory_info().rss / MIB, 1),
                files=elder.num_fds(),
                lag=max(0, self._run.feed.sent - sum(reached.get(place, 0) for place in _inputs(self._run))),
                rows_mib=round(size[0][0] / MIB, 1),
            )
        self._samples.append(sample)
        if len(self._samples) % 12 == 0:
            self._say(
                f"{sample.seconds:5.0f} s: {self._run.feed.sent:,} sent, lag {sample.lag:,}, {sample.resident_mib:.0f} MiB, "
                f"{sample.files} files, rows {sample.rows_mib:.0f} MiB, troubles {sum(self._seen.values())}"
            )


def _inputs(run: Run) -> list[tuple[str, int]]:
    kafka = run.site.settings.kafka
    return [(topic, partition) for topic in kafka.input_topics for partition in range(kafka.partitions)]
