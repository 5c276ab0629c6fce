"""The state log of one partition without Kafka: what checkpoints write, and what the next owner reads back.

For models of stages: their state goes through the real `LogWriter` and `LogReader`, packs, bases and deletions included, so that what a
restart forgets shows in what the stage says afterwards.

    save   delta (base) meta            reopen   claim ... meta, copied         crash   the same, but what was not saved is gone

`Restarted` is the whole pipeline in memory, each partition with such a log.
"""

from typing import Any

from pipeline.runtime import state_log
from pipeline.runtime.local import LocalRuntime
from pipeline.runtime.partition import Partition
from pipeline.runtime.state_log import LogReader, LogWriter, Write
from pipeline.runtime.state_record import CLAIM, META, VERSION, Claim, Meta, Owner, key, pack
from pipeline.settings import Settings
from pipeline.stream.cases import Cases

BASES_FROM_BYTES = 2_000  # so that bases are written in a test, too


class Durable:
    """A state partition; one owner at a time."""

    def __init__(self) -> None:
        self.records: list[Write] = []
        self.epoch = 0
        self.cases = self.reopen()

    def save(self) -> None:
        """A checkpoint."""
        before, state_log.BASE_FROM_BYTES = state_log.BASE_FROM_BYTES, BASES_FROM_BYTES
        try:
            writes, dead = self.writer.append(self.cases.take_news(), self.cases)
        finally:
            state_log.BASE_FROM_BYTES = before
        self.records += [*writes, self._meta()]
        self.records += [(name, None) for name in dead]

    def reopen(self) -> Cases:
        """Another owner takes over; what was not saved is forgotten.  Compaction has run meanwhile."""
        last = {name: number for number, (name, _) in enumerate(self.records)}
        self.records = [(name, value) for number, (name, value) in enumerate(self.records) if last[name] == number and value is not None]
        read = LogReader()
        for pair in self.records:
            read.take(*pair)
        self.epoch += 1
        self.owner = Owner(self.epoch, self.epoch, f"n{self.epoch}")
        claim = (key(CLAIM, self.owner), pack(Claim()))
        read.take(*claim)
        self.read, self.cases = read, read.cases
        self.writer = LogWriter(self.owner, read)
        self.records += [claim, self._meta()]
        return self.cases

    def _meta(self) -> Write:
        return key(META, self.owner), pack(Meta(VERSION, self.writer.seq, 0, "life"))


class Restarted(LocalRuntime):
    """Saves at each checkpoint; `restart` drops everything else and goes on from what was saved."""

    def __init__(self, settings: Settings, partitions: int = 1, **rest: Any) -> None:
        super().__init__(settings, partitions, **rest)
        self._settings = settings
        self._saved = {source: Durable() for source in self._parts}
        self._reopen()

    def restart(self) -> None:
        """Behind a checkpoint: nothing is read again."""
        for saved in self._saved.values():
            saved.reopen()
        self._reopen()

    def _reopen(self) -> None:
        for source, saved in self._saved.items():
            applied, part = (
                self._parts[source].applied,
                Partition(source, self._parts[source].stage, self._settings, saved.owner, saved.read),
            )
            part.applied, self._parts[source] = applied, part
            while self._guard.wake(part):
                pass

    def _collect(self, part: Partition) -> None:
        self._saved[part.source].save()
        super()._collect(part)
