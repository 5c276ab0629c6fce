"""Faust transport that delivers whole fetched batches: one Faust message stands for all records of one partition in one fetch.

In: what aiokafka fetched.  Out: messages whose value is the list of records; `event.ack()` acknowledges the whole list.  Stock Faust
pays about 120 us for each message, so a record as a message would cap a core at 8,000 a second; with batches that price is paid once
per fetch.  Flow control, generation checks, rebalances and the commit task keep working, because to them a batch is an ordinary
message.  Turned down: the scheduler hook of Faust with public names only, because its commits stall.

    fetch      logs.access/0 [7 8 9]        in flight   [7..10)
    fetch      logs.access/0 [12 13]                    [7..10) [12..14)        a hole needs no tracking
    ack [12..14)                                        nothing may be committed: [7..10) is open
    ack [7..10)                             committable 14

Holds: what may be committed is the longest acknowledged prefix of what was delivered; an acknowledgement counts for the message it
was given for, never for a refetch at the same offset; nothing fetched before the last assignment, or while the flow
was stopped, is delivered.
Written against faust-streaming 0.15.3 and aiokafka 0.14.  A contract test holds every private name in PRIVATE_NAMES to its signature.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import faust
from faust.serializers.schemas import Schema
from faust.transport.consumer import CONSUMER_FETCHING
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

# Of faust's Consumer, with the parameters they must have; attributes have none.
PRIVATE_NAMES: Mapping[str, tuple[str, ...] | None] = {
    "_drain_messages": ("self", "fetcher"),
    "_new_offset": ("self", "tp"),
    "_filter_tps_with_pending_acks": ("self", "topics"),
    "_filter_committable_offsets": ("self", "tps"),
    "_wait_next_records": ("self", "timeout"),
    "_add_gap": ("self", "tp", "offset_from", "offset_to"),
    "_to_message": ("self", "tp", "record"),
    "_new_consumer_thread": ("self",),
    "_acked": None,
    "_acked_index": None,
    "_n_acked": None,
    "_read_offset": None,
    "_committed_offset": None,
    "_buffered_partitions": None,
    "_commit_every": None,
}
FETCH_SECONDS = 1.0  # longest wait of one fetch
SMALL_RECORDS = 2000  # in a fetch


class FetchedRecord(Protocol):
    """What this module needs of aiokafka's ConsumerRecord."""

    offset: int
    timestamp: int | None
    timestamp_type: int


class BatchSchema(Schema):
    """Marks a topic as batched; hands the list of records through without decoding.

    One agent per batched topic: the first decode takes the records out of the message.
    """

    def compile(self, app: Any, **_: Any) -> Any:
        create_event = app.create_event

        async def decode(message: Any, **_: Any) -> Any:
            # The consumer holds the message until its offset is committed; the records must not live that long.
            records, message.value = message.value, None
            return create_event(message.key, records, message.headers, message)

        return decode


class BatchConsumer(driver.Consumer):
    """Consumer that delivers one message per (partition, fetched records) for topics with a BatchSchema."""

    _n_acked: int  # of faust
    pause_seconds = 0.0  # after a small fetch, so that the next one is larger: a batch costs the same however few records it has

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._inflight: defaultdict[TP, deque[tuple[Any, int]]] = defaultdict(deque)  # (message, next offset), in delivery order
        self._batch_topics: frozenset[str] = frozenset()
        self._idle = asyncio.Event()  # set while the drain loop holds no fetched records
        self._idle.set()
        super().__init__(*args, **kwargs)

    # --- what may be committed

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self._batch_topics:
            offset: int | None = super()._new_offset(tp)
            return offset
        # By message identity, not by offset: an ack that arrives after a seek belongs to a message that is no longer queued, so it
        # cannot count for the refetched batch that starts at the same offset.
        queue, offset = self._inflight[tp], None
        while queue and queue[0][0].acked:
            offset = queue.popleft()[1]
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return offset

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterable[TP]:
        # The stock revoke handler drops `_acked` before it commits, which would leave out everything acked since the last commit.
        pending = set(super()._filter_tps_with_pending_acks(topics))
        for tp, queue in self._inflight.items():
            if queue and queue[0][0].acked and (topics is None or tp in topics or tp.topic in topics):
                pending.add(tp)
        return pending

    def forget_acknowledged(self) -> None:
        """Let go of the acknowledged prefixes, for a commit that takes its offsets from elsewhere."""
        self._filter_committable_offsets(list(self._inflight))

    def in_flight(self, tp: TP) -> bool:
        """Is a delivered batch of the partition still unacknowledged?"""
        return any(not message.acked for message, _ in self._inflight.get(tp, ()))

    # --- rebalances and seeks

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        channels = [channel for channel in self.app.topics if isinstance(channel.schema, BatchSchema)]
        self._batch_topics = frozenset(topic for channel in channels for topic in channel.topics)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._inflight.pop(tp, None)

    async def perform_seek(self) -> None:
        """Seek to where the work goes on, with no delivery in progress.

        Recovery resumes the input partitions before it seeks (https://github.com/faust-streaming/faust/issues/596).  Records
        delivered in that gap are dropped later and would block the commit for ever.  So: stop the flow, wait until the drain loop
        holds nothing, seek, forget what was delivered before.
        """
        was_active = self.flow_active
        self.stop_flow()
        await self._idle.wait()
        await super().perform_seek()
        self._inflight.clear()
        self._acked.clear()
        self._acked_index.clear()
        if was_active:
            self.resume_flow()

    # --- delivery

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch and deliver until stopped (replaces the stock loop, which runs once per record)."""
        small = False
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                self._idle.set()
                if small:
                    await self.sleep(self.pause_seconds)
                self.diag.set_flag(CONSUMER_FETCHING)
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                    continue
                self._idle.clear()  # no await between the check above and the start of the fetch
                generation = self.app.consumer_generation_id
                records, active = await self._wait_next_records(FETCH_SECONDS)
                small = self.pause_seconds > 0 and 0 < sum(map(len, records.values())) < SMALL_RECORDS
                await asyncio.sleep(0)
                # If the flow was stopped meanwhile the records are dropped: whoever stopped it seeks back before resuming.
                if records and not self.should_stop and self.flow_active:
                    await self._deliver_fetch(records, active, generation)
                self.diag.unset_flag(CONSUMER_FETCHING)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.transport.app.should_stop:
                raise
        finally:
            self._idle.set()
            self.diag.unset_flag(CONSUMER_FETCHING)

    async def _deliver_fetch(self, fetched: Mapping[TP, Sequence[FetchedRecord]], active: set[TP] | None, generation: int) -> None:
        for tp, records in fetched.items():
            if self._interrupted(generation):
                return
            if not (active is None or tp in active or tp in self._buffered_partitions):
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if tp.topic in self._batch_topics:
                await self._deliver_batch(tp, records, generation)
            else:  # an ordinary topic, with the semantics of stock Faust
                await self._deliver_records(tp, records, generation)

    def _interrupted(self, generation: int) -> bool:
        return not self.flow_active or self.app.consumer_generation_id != generation

    async def _deliver_batch(self, tp: TP, records: Sequence[FetchedRecord], generation: int) -> None:
        read = self._read_offset[tp]  # for a batched topic: the next offset to deliver
        if read is not None and records[0].offset < read:
            records = [record for record in records if record.offset >= read]
            if not records:
                return
        if self._commit_every is not None and self._n_acked >= self._commit_every:  # set it high: this commits in the fetch loop
            self._n_acked = 0
            await self.commit()
        first, last = records[0], records[-1]
        timestamp = None if last.timestamp is None else last.timestamp / 1000.0
        message = ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            timestamp,
            last.timestamp_type,
            (),
            None,
            records,
            None,
            0,
            0,
            tp,
            generation_id=generation,
        )
        self._inflight[tp].append((message, last.offset + 1))
        await self._deliver(message, tp)
        self._read_offset[tp] = last.offset + 1

    async def _deliver_records(self, tp: TP, records: Sequence[FetchedRecord], generation: int) -> None:
        for record in records:
            if self._interrupted(generation):
                return
            offset, read = record.offset, self._read_offset[tp]  # here: the last offset delivered, as in stock Faust
            if read is not None and offset < read:
                continue
            if read and offset - read > 1 and self.app.topics.acks_enabled_for(tp.topic):
                await self._add_gap(tp, read + 1, offset)
            await self._deliver(self._to_message(tp, record), tp)
            self._read_offset[tp] = offset

    async def _deliver(self, message: Any, tp: TP) -> None:
        # wait_first() costs four tasks.  It exists for the case that the callback could block: flow suspended, producer over its
        # limit, agent queue full.  Pay for it only then.
        app = self.app
        buffer = app.producer.buffer
        queues_full = any(channel.queue.full() for channel in app.topics._tp_index.get(tp, ()))
        callback: Callable[[Any], Awaitable[None]] = self.callback
        if app.flow_control.is_active() and buffer.size <= buffer.max_messages and not queues_full:
            await callback(message)
        else:
            await self.wait_first(callback(message), self.suspend_flow.wait())


class BatchTransport(driver.Transport):
    """The aiokafka transport with the batch consumer."""

    Consumer = BatchConsumer


class BatchApp(faust.App):
    """App whose consumer side uses the batch transport; the producer side stays the stock one."""

    transport_class: type[Any] = BatchTransport

    def _new_transport(self) -> Any:
        return self.transport_class(self.conf.broker_consumer, self)
