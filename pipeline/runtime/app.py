"""The Faust app: a thin shell that feeds batches to `Worker` and runs its checkpoint where Faust commits.

Settings are those of which stock defaults lose records, stall or surprise; each says why.  Crash-only: a worker in doubt ends with a
non-zero code and is started again.  Faust's own environment variables get a prefix that our settings refuse, because in Faust the
environment beats the constructor: a stray BROKER_URL in a container would win in silence.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.errors import ConfigError, FatalError, TrainwatchError
from pipeline.runtime.abandoned import Abandoned, Cancelled
from pipeline.runtime.access import RIGHTS, RIGHTS_ADVICE, reaching
from pipeline.runtime.batch_transport import BatchApp, BatchConsumer, BatchSchema, BatchTransport
from pipeline.runtime.complaints import Plain, Seldom, hold_back
from pipeline.runtime.garbage import collect_seldom
from pipeline.runtime.instance import Instance, claim, twin
from pipeline.runtime.membership import Listener, Shares, Tenure
from pipeline.runtime.partition import Source
from pipeline.runtime.ports import Sink
from pipeline.runtime.vitals import Vitals
from pipeline.runtime.watchdog import EXIT_STUCK
from pipeline.runtime.worker import Worker
from pipeline.settings import AUTO, KafkaSettings, Settings
from pipeline.topology import Topology

QUEUE_BATCHES = 4  # fetched batches that wait for a stage, per topic: a bound on memory
FETCH_WAIT_MS = 500  # long poll; other requests to the same broker wait behind it
REQUEST_SECONDS = 90.0  # Faust demands more than the session timeout
EXIT_CRASHED = 1
BEAT_SECONDS = 0.5
LAST_SECONDS = 0.05
NEVER_SECONDS = 1e6
FOREVER_SECONDS = 1e9  # thirty years
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

log = logging.getLogger("trainwatch.worker")


class WorkerThread(driver.AIOKafkaConsumerThread):
    """The consumer client of the worker."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # Faust offers it with exactly_once only
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._partition_assignment_strategy = [Shares]
        return consumer


class WorkerConsumer(BatchConsumer):
    """Runs the checkpoint where Faust commits, and starts where the state says."""

    RebalanceListener = Listener
    pause_seconds = 0.02

    def _new_consumer_thread(self) -> Any:
        return WorkerThread(self, loop=self.loop, beacon=self.beacon)

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002  Faust's signature
        # The stock method does nothing while another commit runs, so the last one before a revoke could be left out; nor on quiet input.
        self.forget_acknowledged()
        checkpoint = self.app.worker.checkpoint
        if checkpoint is not None:
            with self.app.noting_failure():
                await checkpoint.run()
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        committed = await super().seek_to_committed()
        applied = {TP(*source): offset for source, offset in self.app.worker.positions().items()}
        await self.seek_wait(applied)
        return {**committed, **applied}

    async def wait_empty(self) -> None:
        if self.app.worker.checkpoint is not None:
            self.app.worker.checkpoint.hurry()  # a rebalance or shutdown waits for us
        await super().wait_empty()


class WorkerTransport(BatchTransport):
    """The batch transport with the consumer above."""

    Consumer = WorkerConsumer


class App(BatchApp):
    """A worker process.  `failure` is what ended it, when something did."""

    transport_class = WorkerTransport
    worker: Worker
    vitals: Vitals
    tenure = Tenure(0, -1, "")
    failure: BaseException | None = None
    _ending: asyncio.Task[None] | None = None
    shutdown_seconds = 20.0

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """What ends us first is the reason; Faust tells of the last, which is as a rule an agent that it cancelled."""
        try:
            yield
        except TrainwatchError as error:
            self.failure = self.failure or error
            raise
        except Abandoned as why:
            name = self.vitals.instance.name
            advice = (
                f"Start it again. If it comes again, another live process is instance {name} of this group." if name else "Start it again."
            )
            self.failure = self.failure or FatalError(f"take-over ended by the group: {why}", advice=advice)
            raise

    def _create_directories(self) -> None:
        """None: with a store in memory Faust leaves them empty, and a worker that is killed would leave them for ever."""

    async def on_start(self) -> None:
        self._beat()
        await super().on_start()

    def _beat(self) -> None:
        self.vitals.watchdog.beat()
        loop = asyncio.get_running_loop()
        loop.call_later(BEAT_SECONDS, self._beat)
        if not self.should_stop and self.failure is None and (failure := self.worker.membership.ended()):
            self.failure = twin(self.vitals.instance.name) if "FencedInstance" in repr(failure) else failure
            self._ending = loop.create_task(self.crash(self.failure))

    async def stop(self) -> None:
        # Faust waits for acknowledgements without an end; whoever started us must not wait with it.
        watchdog = threading.Timer(self.shutdown_seconds, self._give_up)
        watchdog.daemon = True
        watchdog.start()
        await super().stop()

    async def on_stop(self) -> None:
        await super().on_stop()  # runs the last checkpoint
        await self.worker.close()

    def _give_up(self) -> None:
        if self.failure is not None:
            error = explain(self.failure)
            log.critical("%s. %s", error, error.advice)
        log.critical(
            "not stopped after %.0f s: ending at once; what was not committed is repeated at the next start", self.shutdown_seconds
        )
        logging.shutdown()
        os._exit(EXIT_STUCK)


def build_app(settings: Settings, topology: Topology, sink: Sink, instance: Instance | None = None) -> App:
    """The app of one worker process, ready to run.  `instance`: its name in the group, when it has claimed one already."""
    if instance is None:
        instance = claim(settings) if settings.worker.instance_id == AUTO else Instance(settings.worker.instance_id)
    app = App(
        settings.kafka.group,
        broker=f"kafka://{settings.kafka.bootstrap_servers.replace(',', ';')}",
        broker_credentials=_credentials(settings.kafka),
        env_prefix="TRAINWATCH_FAUST_",
        web_enabled=False,  # binds 0.0.0.0 without authentication
        store="memory://",
        processing_guarantee="at_least_once",  # exactly_once doubles and only logs its errors
        agent_supervisor="mode.supervisors:CrashingSupervisor",  # the default goes on after an unacknowledged record
        stream_wait_empty=True,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_commit_interval=NEVER_SECONDS,  # the worker keeps time itself
        broker_commit_every=1_000_000,  # the default commits inside the fetch loop
        broker_max_poll_records=None,  # a number starves some partitions
        broker_session_timeout=settings.kafka.session_timeout_seconds,
        broker_heartbeat_interval=min(3.0, settings.kafka.session_timeout_seconds / 3),
        # Who fetches nothing for so long leaves the group for good, a worker for which no partition is left first of all
        # (https://github.com/aio-libs/aiokafka/issues/1187).  A worker that hangs is the watchdog's.
        broker_max_poll_interval=FOREVER_SECONDS,
        broker_request_timeout=max(REQUEST_SECONDS, settings.kafka.session_timeout_seconds),
        consumer_max_fetch_size=settings.worker.max_fetch_bytes,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=instance.name or None,
        worker_redirect_stdouts=False,
    )
    app.shutdown_seconds = settings.checkpoint.shutdown_seconds
    app.vitals = Vitals(settings, instance, log)
    worker = app.worker = Worker(app, settings, topology, sink, app.vitals, log)
    for stage in topology.stages:
        for topic in stage.reads:
            app.agent(app.topic(topic, schema=BatchSchema(), maxsize=QUEUE_BATCHES), name=f"{stage.name}-{topic}")(_agent(app))

    async def assigned(*_: Any, **__: Any) -> None:
        with app.noting_failure():
            await worker.assigned()

    async def revoked(*_: Any, **__: Any) -> None:
        worker.revoked()

    app.on_rebalance_complete.connect(assigned, weak=False)  # before the seek, while heartbeats run
    app.on_partitions_revoked.connect(revoked, weak=False)  # after the last commit
    for task in (worker.run_checkpoints, worker.send_facts, worker.watch_silences, worker.watch_offsets, worker.watch_inputs):
        app.task(lasting(app, task))
    return app


def _credentials(settings: KafkaSettings) -> Any:
    """As Faust wants them, which hands them on to aiokafka; None for plain text."""
    options = reaching(settings)
    context = options.get("ssl_context")
    if user := options.get("sasl_plain_username"):
        password, mechanism = options["sasl_plain_password"], options["sasl_mechanism"]
        return SASLCredentials(username=user, password=password, ssl_context=context, mechanism=mechanism)
    return context and SSLCredentials(context)


def lasting(app: App, task: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A task that ends with the app alone.  One that is cancelled before is an error; Faust goes on without it, and says nothing."""

    @wraps(task)
    async def run() -> None:
        with app.noting_failure():
            try:
                await task()
            except asyncio.CancelledError as why:
                if app.should_stop:
                    raise
                raise Cancelled(f"the task {task.__name__} was cancelled, and nobody ends the worker") from why

    return run


def _agent(app: App) -> Callable[[Any], Any]:
    worker = app.worker

    async def fold(stream: Any) -> None:
        async for event in stream.noack().events():
            # Records of an older assignment would leave a gap before them: their partition was taken over at another offset since.
            if event.message.generation_id == app.consumer_generation_id:
                with app.noting_failure():
                    await worker.fold(Source(*event.message.tp), event.value)
            event.ack()

    return fold


class Foreground(faust.Worker):
    """The process around the app."""

    async def _sentinel_task(self) -> None:
        """All tasks have ended: a moment in which connections close.  The stock one sleeps for a second at every end of a process."""
        await asyncio.sleep(LAST_SECONDS)


def run(app: App, *, level: int = logging.INFO) -> int:
    """Run in the foreground until a signal or a crash.  0: stopped in order; EXIT_CRASHED, with the reason in `app.failure`."""
    collect_seldom()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Plain(LOG_FORMAT))
    handler.addFilter(Seldom())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(level)
    hold_back()
    worker = Foreground(app, quiet=True, override_logging=False, redirect_stdouts=False, loglevel="WARN")
    worker.spinner = None  # writes terminal codes to standard output
    app.vitals.start()
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        app.failure = app.failure or worker.crash_reason
        if not end.code and app.failure is None:
            return 0
    except asyncio.CancelledError as end:  # mode lets the reason of a crash through when it is not an Exception
        app.failure = app.failure or end
    finally:
        app.vitals.close()
    return EXIT_CRASHED


def explain(failure: BaseException | None) -> TrainwatchError:
    """What ended the worker, as an error with advice."""
    chain: list[BaseException] = []
    while failure is not None and failure not in chain:  # raised again inside its own handling, the chain is a ring
        if isinstance(failure, TrainwatchError):
            return failure
        if isinstance(failure, RIGHTS):
            return ConfigError(f"Kafka does not let this account do it: {failure}", advice=RIGHTS_ADVICE)
        chain.append(failure)
        failure = failure.__cause__ or failure.__context__
    if chain:
        last = chain[-1]
        said = f"{type(last).__name__}: {last}".removesuffix(": ")  # timeouts say nothing
        return FatalError(f"the worker ended: {said}", advice="Nothing uncommitted is lost. Start it again.")
    return FatalError("the worker ended with an error", advice="The log above says why. Nothing uncommitted is lost: start it again.")
