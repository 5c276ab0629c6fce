"""A worker over the topology of `fault_worker`, which hangs or loses its sink on demand: `python -m tests.integration.health_worker SPEC`.

Files in the folder of the test are the switches, looked at while it runs:

    hang    the next step of ingest never returns: the event loop stands still
    wait    the next batch is never folded, though the loop turns
    blind   looked at when it starts: it looks at offsets once in ten minutes
    deaf    the sink answers as ClickHouse does when it is away
    late    the first take-over of a worker with the fault `late` is not done, though it has read all; and all are slow to look at cases
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import SinkUnavailable
from pipeline.model.outcome import Outcome
from pipeline.runtime import app as runtime
from pipeline.runtime import worker
from pipeline.runtime.instance import Instance, claim
from pipeline.runtime.retention import seconds_by_topic
from pipeline.settings import Settings
from pipeline.sink.clickhouse import ClickHouseSink
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage
from tests.integration.fault_worker import Spec, topology


class DeafSink(ClickHouseSink):
    """The real one, while the switch is off."""

    switch: Path

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, incarnation: str = "") -> None:
        if self.switch.exists():
            raise SinkUnavailable("nobody listens there")
        super().insert(table, rows, token, incarnation)


def hanging(stage: Stage, switch: Path) -> Stage:
    """The stage, standing still while the switch is on."""

    def step_that_hangs(state: Any, batch: Sequence[Any], now: Watermarks) -> tuple[Any, list[Outcome]]:
        while batch and switch.exists():
            time.sleep(0.1)
        return stage.step(state, batch, now)

    return stage._replace(step=step_that_hangs)


def main() -> int:
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    settings, folder = Settings.model_validate(spec.settings), Path(spec.folded).parent
    whole = topology(spec, settings.kafka.topic_prefix)
    first, *rest = whole.stages
    if (folder / "blind").exists():
        worker.LOOK_SECONDS = 600.0
    with DeafSink(settings.clickhouse) as sink:
        sink.switch = folder / "deaf"
        # A twin is on another machine, where nobody of this host can tell that its name is in use.
        instance = Instance(settings.worker.instance_id) if spec.fault else claim(settings)
        app = runtime.build_app(settings, whole._replace(stages=(hanging(first, folder / "hang"), *rest)), sink, instance)
        app.vitals.retention_seconds = seconds_by_topic(settings.kafka, spec.topics)
        fold = app.worker.fold

        async def wait_or_fold(*batch: Any) -> None:
            while (folder / "wait").exists():  # noqa: ASYNC110  the switch is in another process
                await asyncio.sleep(0.1)
            await fold(*batch)

        app.worker.fold = wait_or_fold  # type: ignore[method-assign, assignment]
        if spec.fault == "late":
            take_over, wake_all = app.worker._take_over, app.worker._wake_all

            async def take_over_late(*those: Any) -> Any:
                parts = await take_over(*those)
                (folder / "taken").touch()
                while (folder / "late").exists():  # noqa: ASYNC110  same
                    await asyncio.sleep(0.1)
                return parts

            async def wake_all_slowly(*those: Any) -> None:
                await asyncio.sleep(0.5)  # as with the state of weeks
                await wake_all(*those)

            async def assigned(*_: Any, **__: Any) -> None:
                with (folder / "assigned").open("a") as file:
                    file.write("again\n")

            app.worker._take_over = take_over_late  # type: ignore[method-assign, assignment]
            app.worker._wake_all = wake_all_slowly  # type: ignore[method-assign, assignment]
            app.on_partitions_assigned.connect(assigned, weak=False)
        code = runtime.run(app)
    if code:
        error = runtime.explain(app.failure)
        print(f"ended by: {error}. {error.advice}", file=sys.stderr)  # noqa: T201  for the test's log
    return code


if __name__ == "__main__":
    sys.exit(main())
