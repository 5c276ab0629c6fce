"""What jobs tell incidents of one attempt: enough to compare it with others, and no more.

    attempt   configuration   end, verdict   pace of its steps   losses at round steps   exposures

An exposure is a load of bytes whose last writer before the load was somebody else than the owner, without leave: what a cohort is compared
by.  It accuses nobody: whoever is compared with himself before and after.
"""

import msgspec

from pipeline.model.finding import Evidence
from pipeline.model.told import Attempt, Emitted, Tombstone


class Exposure(msgspec.Struct, frozen=True, gc=False, array_like=True, order=True):
    """The attempt loaded bytes that a foreign hand had written last."""

    path: str
    writer: str  # identity id
    written: int  # UTC ms
    write: Evidence
    load: Evidence
    sha256: str = ""  # of what was loaded
    restored: bool = False  # the bytes had been loaded before anybody wrote: a release taken back, or a tamper undone
    own: bool = False  # nothing shows that the file was anybody's but the writer's


class Pace(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Of the samples of an attempt's step times, ms."""

    samples: int
    mean: float
    median: float
    first: Evidence
    slowest: Evidence


class Step(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One step at a round number."""

    iteration: int
    loss: float
    learning_rate: float | None
    cited: Evidence
    samples: float | None = None  # consumed by then, in batches: as many as steps, unless the batch grew on the way


class JobSummary(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="job_summary", tag_field="told"):
    """One attempt, as far as it has come."""

    attempt: Attempt
    owner: str
    configuration: str  # what attempts of one cohort share
    gpus: int | None
    nodes: tuple[str, ...]
    end: int | None  # UTC ms; None: it runs
    state: str
    verdict: str  # empty: it runs
    cause: str
    seen: int  # event time of its newest fact
    record: Evidence | None  # of the scheduler
    pace: Pace | None
    steps: tuple[Step, ...]
    exposures: tuple[Exposure, ...]
    arguments: tuple[tuple[str, str, Evidence], ...] = ()  # what training says that it runs with: name, value


InIncidents = JobSummary | Emitted | Tombstone
encode_summary = msgspec.msgpack.Encoder().encode
decode_in_incidents = msgspec.msgpack.Decoder(InIncidents).decode
