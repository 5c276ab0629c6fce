"""The batch consumer with synthetic records, without a broker: what it delivers, and what may be committed."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import mode
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.protocol.api import RequestStruct
from faust.app import App
from faust.transport.conductor import Conductor
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from pipeline.runtime.batch_transport import PRIVATE_NAMES, BatchApp, BatchConsumer, BatchSchema
from tests.patience import PATIENCE_SECONDS

LOGS = TP("logs.access", 0)
OTHER = TP("logs.access", 1)
PLAIN = TP("plain", 0)


class FetchedRecord(NamedTuple):
    """What the consumer needs of a fetched record."""

    topic: str
    partition: int
    offset: int
    timestamp: int = 1_760_000_000_000
    timestamp_type: int = 0
    headers: tuple[()] = ()
    key: bytes | None = None
    value: bytes = b""
    checksum: None = None
    serialized_key_size: int = 0
    serialized_value_size: int = 0


class Broker(Service):
    """Stands where the client thread stands: answers fetches with what a test puts in."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches: asyncio.Queue[dict[TP, list[FetchedRecord]]] = asyncio.Queue()
        self.assigned: set[TP] = set()
        self.sought: Mapping[TP, int] = {}

    def assignment(self) -> set[TP]:
        return set(self.assigned)

    def highwater(self, tp: TP) -> int:
        return 1000

    async def getmany(self, active: Any, timeout: float) -> dict[TP, list[FetchedRecord]]:  # noqa: ASYNC109  Faust's signature
        return await self.fetches.get()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        return self.sought


class Consumer0(BatchConsumer):
    """The consumer under test with the broker above."""

    def _new_consumer_thread(self) -> Broker:
        return Broker()


class Bench:
    """A consumer whose drain loop runs, and what it has delivered."""

    def __init__(self) -> None:
        self.app = BatchApp("contract", broker="kafka://127.0.0.1:1")
        self.app.finalize()
        self.topic = self.app.topic("logs.access", schema=BatchSchema(), maxsize=1)
        self.app.topics._topics.add(self.topic)
        self.delivered: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.consumer = Consumer0(
            self.app.transport, callback=self._deliver, on_partitions_revoked=self._nothing, on_partitions_assigned=self._nothing
        )
        self.broker: Broker = self.consumer._thread
        self.app.consumer = self.consumer
        self.app.flow_control.resume()
        self._fetcher = Service()
        self._task: asyncio.Task[None] | None = None

    async def assign(self, *tps: TP) -> None:
        self.broker.assigned = set(tps)
        self.app.consumer_generation_id += 1
        await self.consumer.on_partitions_assigned(set(tps), self.app.consumer_generation_id)

    def start(self) -> None:
        self.consumer.resume_flow()
        self._task = asyncio.create_task(self.consumer._drain_messages(self._fetcher))

    async def fetch(self, tp: TP, *offsets: int) -> None:
        """The broker answers with these, and the loop gets its turns."""
        self.broker.fetches.put_nowait({tp: [FetchedRecord(tp.topic, tp.partition, offset) for offset in offsets]})
        await turns()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _deliver(self, message: Any) -> None:
        await self.gate.wait()
        self.delivered.append(message)

    async def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    def offsets(self) -> list[list[int]]:
        return [[record.offset for record in message.value] for message in self.delivered]


async def turns() -> None:
    """Let other tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.assign(LOGS, OTHER)
    bench.start()
    await turns()
    yield bench
    await bench.close()


@pytest.mark.asyncio
async def test_a_fetch_is_one_message_per_partition(bench: Bench) -> None:
    """The records of a partition arrive together, at the offset of the first."""
    await bench.fetch(LOGS, 7, 8, 9)
    await bench.fetch(OTHER, 0)
    assert bench.offsets() == [[7, 8, 9], [0]]
    assert [(message.tp, message.offset) for message in bench.delivered] == [(LOGS, 7), (OTHER, 0)]


@pytest.mark.asyncio
async def test_acks_out_of_order_commit_the_longest_prefix(bench: Bench) -> None:
    """A later batch that is acknowledged first does not let the commit pass an open one."""
    await bench.fetch(LOGS, 7, 8, 9)
    await bench.fetch(LOGS, 10, 11)
    first, second = bench.delivered
    bench.consumer.ack(second)
    assert bench.consumer._new_offset(LOGS) is None
    bench.consumer.ack(first)
    assert bench.consumer._new_offset(LOGS) == 12
    assert bench.consumer._new_offset(LOGS) is None


@pytest.mark.asyncio
async def test_a_hole_needs_no_tracking(bench: Bench) -> None:
    """Offsets that never existed do not hold the commit."""
    await bench.fetch(LOGS, 0, 1)
    await bench.fetch(LOGS, 5, 9)
    for message in bench.delivered:
        bench.consumer.ack(message)
    assert bench.consumer._new_offset(LOGS) == 10


@pytest.mark.asyncio
async def test_revoked_partitions_commit_what_is_acked(bench: Bench) -> None:
    """Acknowledged batches of a partition count as pending for the last commit, open ones do not; after the revoke both are forgotten."""
    await bench.fetch(LOGS, 0)
    await bench.fetch(OTHER, 0)
    bench.consumer.ack(bench.delivered[0])
    bench.consumer._acked.pop(LOGS, None)  # what the stock handler does before its last commit
    assert set(bench.consumer._filter_tps_with_pending_acks()) - {OTHER} == {LOGS}
    assert bench.consumer._new_offset(LOGS) == 1
    assert bench.consumer._new_offset(OTHER) is None
    assert bench.consumer.in_flight(OTHER)
    await bench.consumer.on_partitions_revoked({LOGS, OTHER})
    assert not bench.consumer.in_flight(OTHER)
    assert bench.consumer._new_offset(OTHER) is None


@pytest.mark.asyncio
async def test_a_seek_forgets_what_was_delivered(bench: Bench) -> None:
    """After a seek the same records come again, and the flow goes on."""
    await bench.fetch(LOGS, 3, 4)
    bench.broker.sought = {LOGS: 3}
    seek = asyncio.create_task(bench.consumer.perform_seek())
    await bench.fetch(LOGS, 5)  # the fetch under way ends; its records are dropped, since the flow is stopped
    await seek
    await bench.fetch(LOGS, 3, 4)
    assert bench.offsets() == [[3, 4], [3, 4]]


@pytest.mark.asyncio
async def test_a_late_ack_does_not_count_for_a_refetch(bench: Bench) -> None:
    """Acknowledgements belong to a message, not to an offset."""
    await bench.fetch(LOGS, 3, 4)
    late = bench.delivered[0]
    bench.broker.sought = {LOGS: 3}
    seek = asyncio.create_task(bench.consumer.perform_seek())
    await bench.fetch(LOGS, 5)
    await seek
    await bench.fetch(LOGS, 3, 4)
    bench.consumer.ack(late)
    assert bench.consumer._new_offset(LOGS) is None
    bench.consumer.ack(bench.delivered[1])
    assert bench.consumer._new_offset(LOGS) == 5


@pytest.mark.asyncio
async def test_a_fetch_of_an_older_generation_is_dropped(bench: Bench) -> None:
    """The group rebalanced while the fetch was under way."""
    bench.app.consumer_generation_id += 1
    await bench.fetch(LOGS, 0, 1)
    assert bench.delivered == []


@pytest.mark.asyncio
async def test_a_fetch_that_ends_while_the_flow_is_stopped_is_dropped(bench: Bench) -> None:
    """Whoever stopped the flow seeks back before it goes on."""
    bench.consumer.stop_flow()
    await bench.fetch(LOGS, 0, 1)
    assert bench.delivered == []
    assert not bench.consumer.in_flight(LOGS)


@pytest.mark.asyncio
async def test_records_below_the_read_offset_are_not_delivered_again(bench: Bench) -> None:
    """A fetch that begins before what was delivered is cut."""
    await bench.fetch(LOGS, 0, 1)
    await bench.fetch(LOGS, 1, 2)
    await bench.fetch(LOGS, 2)
    assert bench.offsets() == [[0, 1], [2]]


@pytest.mark.asyncio
async def test_a_full_queue_ends_with_the_flow(bench: Bench) -> None:
    """A delivery that cannot go on is left when the flow is stopped, so that a rebalance does not wait for a slow stage."""
    bench.app.flow_control.suspend()  # the loop must not trust that the callback will not wait
    bench.gate.clear()
    await bench.fetch(LOGS, 0, 1)
    assert bench.delivered == []
    bench.consumer.stop_flow()
    await asyncio.wait_for(bench.consumer._idle.wait(), PATIENCE_SECONDS)
    assert bench.delivered == []


@pytest.mark.asyncio
async def test_ordinary_topics_keep_single_records(bench: Bench) -> None:
    """A topic without the batch schema is delivered record by record."""
    await bench.assign(LOGS, PLAIN)
    await bench.fetch(OTHER)  # the fetch of the generation before
    await bench.fetch(PLAIN, 0, 1)
    assert [(message.tp, message.offset) for message in bench.delivered] == [(PLAIN, 0), (PLAIN, 1)]


@pytest.mark.asyncio
async def test_the_schema_takes_the_records_out_of_the_message(bench: Bench) -> None:
    """The consumer holds the message until the commit; the records must not live that long."""
    await bench.fetch(LOGS, 0, 1)
    message = bench.delivered[0]
    event = await BatchSchema().compile(bench.app)(message)
    assert [record.offset for record in event.value] == [0, 1]
    assert message.value is None


@pytest.mark.parametrize(("name", "parameters"), PRIVATE_NAMES.items())
def test_private_names_of_faust_are_as_expected(name: str, parameters: tuple[str, ...] | None) -> None:
    """An upgrade of Faust that renames one of these fails here, and not in a worker."""
    if parameters is None:
        assert f"self.{name}" in inspect.getsource(Consumer)
    else:
        assert tuple(inspect.signature(getattr(driver.Consumer, name)).parameters)[: len(parameters)] == parameters


AROUND_THE_CLIENT = [
    (driver.ThreadDelegateConsumer, "self._thread = self._new_consumer_thread()"),
    (driver.AIOKafkaConsumerThread, "def _create_worker_consumer("),
    (driver.AIOKafkaConsumerThread, "async def commit(self, offsets: Mapping[TP, int]) -> bool:"),
    (driver.AIOKafkaConsumerThread, "self._consumer = self._create_consumer("),
    (AIOKafkaConsumer, "self._isolation_level = isolation_level"),
    (AIOKafkaConsumer, "self._fetch_max_wait_ms = fetch_max_wait_ms"),
    (AIOKafkaConsumer, "assignors=self._partition_assignment_strategy,"),
    (AIOKafkaConsumer, "self._coordinator = GroupCoordinator("),
    (GroupCoordinator, "self._pending_exception = exc"),
    (GroupCoordinator, "self.generation = "),
    (GroupCoordinator, "self.member_id = "),
    (GroupCoordinator, "async def ensure_coordinator_known(self):"),
    (GroupCoordinator, "async def _do_heartbeat(self):"),
    (driver.ConsumerRebalanceListener, "self._thread.app.consumer_generation_id = generation"),
    (driver.AIOKafkaConsumerThread, "consumer.RebalanceListener(self)"),
    (GroupCoordinator, "def request_rejoin(self):"),
    (GroupCoordinator, "await self._client._maybe_wait_metadata()"),
    (Conductor, "self._tp_index"),
    (App, "def _new_transport(self)"),
    (App, "def _create_directories(self)"),
    (mode.Worker, "async def _sentinel_task(self) -> None:"),
    (mode.Worker, "fut = asyncio.ensure_future(self._sentinel_task(), loop=self.loop)"),
    (AIOKafkaClient, "def add_topic(self, topic):"),
    (AIOKafkaClient, "return asyncio.shield(self._md_update_fut)"),
    (AIOKafkaClient, "def get_random_node(self):"),
    (AIOKafkaClient, "return resp.coordinator_id"),
    (RequestStruct, "return ResponseHeader_v1.decode(read_buffer)"),
    (mode.threads.ServiceThread, "self.thread_loop = thread_loop or asyncio.new_event_loop()"),
    (AIOKafkaConsumer, "self._client = AIOKafkaClient("),
    (Fetcher, "await self._client._maybe_wait_metadata()"),
]


@pytest.mark.parametrize(("owner", "text"), AROUND_THE_CLIENT, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_private_names_around_the_client_are_as_expected(owner: type, text: str) -> None:
    """The same for the client, the thread it lives in, and the app."""
    assert text in inspect.getsource(owner)
