"""A worker process over the real topology, which kills itself where it is told to: `python -m tests.integration.pipeline_worker SPEC`.

What ingest folds is noted in a file, so that a test can tell whether a restart has repeated anything.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.model.outcome import Outcome, Record
from pipeline.runtime import app as runtime
from pipeline.settings import Settings
from pipeline.sink.clickhouse import ClickHouseSink
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, Topology, build_topology


class Spec(msgspec.Struct, kw_only=True):
    """What a test asks of a worker."""

    settings: dict[str, object]
    folded: str  # file to which folded ranges are appended
    step: str = ""  # of the checkpoint at which to kill, when something is at stake


class Load:
    """Whether the checkpoint under way carries anything that ingest has folded: a kill while it carries nothing shows nothing."""

    def __init__(self) -> None:
        self.folded = self.carried = False

    def reached(self, step: str) -> None:
        if step == "packed":
            self.carried, self.folded = self.folded, False


def noted(stage: Stage, path: Path, load: Load) -> Stage:
    """The stage, with a note of each batch."""

    def step(state: Any, batch: Sequence[Record], now: Watermarks) -> tuple[Any, list[Outcome]]:
        if batch:
            load.folded = True
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{batch[0].topic} {batch[0].partition} {batch[0].offset} {batch[-1].offset}\n")
        return stage.step(state, batch, now)

    return stage._replace(step=step)


def main() -> int:
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    settings = Settings.model_validate(spec.settings)
    load = Load()

    def reached(step: str) -> None:
        load.reached(step)
        if step == spec.step and load.carried:
            os.kill(os.getpid(), signal.SIGKILL)

    real = build_topology(settings)
    first, *rest = real.stages
    topology = Topology((noted(first, Path(spec.folded), load), *rest), real.prefix)
    with ClickHouseSink(settings.clickhouse) as sink:
        app = runtime.build_app(settings, topology, sink)
        app.worker.reached = reached
        return runtime.run(app)


if __name__ == "__main__":
    sys.exit(main())
