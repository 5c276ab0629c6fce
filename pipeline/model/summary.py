"""What jobs tell cohorts of one attempt: enough to compare it with others, and no more.

    attempt   configuration   end, verdict   pace of its steps   losses at round steps   exposures

An exposure is a load of bytes whose last writer before the load was somebody else than the owner, without leave: what a cohort is compared
by.  It accuses nobody: whoever is compared with himself before and after.

A cohort keeps thousands of these for months, so they travel and are kept as arrays: hashes as bytes, words that come again once, what a
record says about itself only where it is not what such a record always says, and of the steps no more than siblings need to share.

    newest steps, each round one     older ones, every half of the leading digit          twelve, and twenty
    88000 89000 90000 ... 99000      85000 80000 75000 ... 10000 9500 ... 3500

Measured on made-up attempts with three arguments on eight nodes: with 100 steps 3.4 kB instead of 24.0 kB, with three exposures beside
them 4.4 kB instead of 26.0 kB, with no steps 0.7 kB instead of 1.5 kB; where they tell the norm of the gradient 0.3 kB more
(tests/unit/model/test_summary.py holds the bounds).

Holds: decoding gives back what was encoded, but for the steps left out; what an older release kept is read.
"""

from collections.abc import Iterator, Sequence
from sys import intern

import msgspec

from pipeline.model.finding import UNPROVEN, Evidence
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

    @property
    def unproven(self) -> bool:
        """Does only a sender that nobody authenticated say who wrote it, or that it was loaded?"""
        return self.write.summary.endswith(UNPROVEN) or self.load.summary.endswith(UNPROVEN)


class Pace(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Of the samples of an attempt's step times, ms."""

    samples: int
    mean: float
    median: float
    first: Evidence
    slowest: Evidence


class Step(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One step, at a round number unless the attempt passes few of these."""

    iteration: int
    loss: float
    learning_rate: float | None
    cited: Evidence
    samples: float | None = None  # consumed by then, in batches: as many as steps, unless the batch grew on the way
    gradient_norm: float | None = None


class JobSummary(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="job_summary", tag_field="told"):
    """One attempt, as far as it has come.  As a fact's body only older releases wrote it."""

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
    loads_told: bool = True  # it says what it loads; who does not may have loaded anything

    @property
    def exposed(self) -> bool:
        """It loaded bytes of a foreign hand that were not put back: somebody can be compared by it."""
        return any(not each.restored for each in self.exposures)


class Brief(msgspec.Struct, frozen=True, gc=False):
    """All that must be known of a member while nobody is compared."""

    attempt: Attempt
    seen: int
    exposed: bool
    owner: str


# --- how it is kept ---------------------------------------------------------------------------------------------------------------

NEWEST_MAX, OLDER_MAX = 12, 20  # steps
ID_BYTES, SHA_BYTES = 16, 32
_TEMPLATES = {"step": "step {}: loss {:g}", "loaded": "job {} loaded {}", "argument": "runs with {} {}"}
ARRAY = 0xDC  # how an array of more than 15 begins; whatever else is told is a map
NO_TEXT = b"\xff"  # a byte that UTF-8 has not: ends ids that are not hashes, since a source may give its own


class _Cite(msgspec.Struct, frozen=True, gc=False, array_like=True):
    words: int  # place of role, source and host
    event_id: bytes
    sha256: bytes
    time: int  # since the submission
    said: str | None  # None: what such a record always says


class _Step(msgspec.Struct, frozen=True, gc=False, array_like=True):
    iteration: int
    loss: float
    learning_rate: float | None
    samples: float | bool  # True: as many as steps; False: nobody says
    cited: _Cite
    gradient_norm: float | None = None  # after all else, so that the release before reads it


class _Exposure(msgspec.Struct, frozen=True, gc=False, array_like=True):
    path: str
    writer: str
    written: int  # since the submission
    write: _Cite
    load: _Cite
    sha256: bytes
    restored: bool
    own: bool


class _Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    attempt: Attempt
    seen: int
    exposed: bool
    words: tuple[tuple[str, str], ...]  # (role, source) of records
    owner: str  # up to here a `_Head`
    configuration: str
    gpus: int | None
    nodes: tuple[str, ...]
    end: int | None
    state: str
    verdict: str
    cause: str
    record: _Cite | None
    pace: tuple[int, float, float, _Cite, _Cite] | None
    steps: tuple[_Step, ...]
    exposures: tuple[_Exposure, ...]
    arguments: tuple[tuple[str, str, _Cite], ...]
    loads_told: bool = True
    hosts: tuple[str, ...] = ()  # of each of the words, whose own log it is; after all else, so that the release before reads it


class _Head(msgspec.Struct, frozen=True, gc=False, array_like=True):
    attempt: Attempt
    seen: int
    exposed: bool
    words: msgspec.Raw
    owner: str


InCohort = JobSummary | Emitted | Tombstone
_encode = msgspec.msgpack.Encoder().encode
_decode_kept = msgspec.msgpack.Decoder(_Kept).decode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_told = msgspec.msgpack.Decoder(InCohort).decode


def encode_summary(value: JobSummary) -> bytes:
    """The body of a fact, with `compared` of its steps."""
    pack = _Packing(value.attempt.submit)
    steps = tuple(
        _Step(
            each.iteration,
            each.loss,
            each.learning_rate,
            each.samples == each.iteration if each.samples in (each.iteration, None) else each.samples,
            pack(each.cited, "step", each.iteration, each.loss),
            each.gradient_norm,
        )
        for each in compared(value.steps)
    )
    exposures = tuple(
        _Exposure(
            each.path,
            each.writer,
            each.written - value.attempt.submit,
            pack(each.write),
            pack(each.load, "loaded", value.attempt.job, each.path),
            _bytes(each.sha256, SHA_BYTES),
            each.restored,
            each.own,
        )
        for each in value.exposures
    )
    timed = value.pace
    pace = (timed.samples, timed.mean, timed.median, pack(timed.first), pack(timed.slowest)) if timed else None
    record = pack(value.record) if value.record else None
    arguments = tuple((name, said, pack(cited, "argument", name, said)) for name, said, cited in value.arguments)
    return _encode(
        _Kept(
            value.attempt, value.seen, value.exposed, tuple((role, source) for role, source, _ in pack.words), value.owner,
            value.configuration, value.gpus, value.nodes, value.end, value.state, value.verdict, value.cause, record, pace, steps,
            exposures, arguments, value.loads_told, tuple(host for _, _, host in pack.words),
        )
    )  # fmt: skip


def decode_in_cohort(body: bytes) -> InCohort:
    """A body out of a case of a cohort, also as an older release wrote it."""
    return _whole(_decode_kept(body)) if body[0] == ARRAY else _decode_told(body)


def brief_of(body: bytes) -> Brief | Emitted | None:
    """The same in short: most members are never compared with anybody."""
    if body[0] == ARRAY:
        head = _decode_head(body)
        return Brief(head.attempt, head.seen, head.exposed, intern(head.owner))
    told = _decode_told(body)
    if isinstance(told, JobSummary):
        return Brief(told.attempt, told.seen, told.exposed, told.owner)
    return told if isinstance(told, Emitted) else None


def compared(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Of steps in order those that are kept: siblings that did not come equally far share the older ones."""
    older = [each for each in steps[:-NEWEST_MAX] if _is_half(each.iteration)]
    return (*older[-OLDER_MAX:], *steps[-NEWEST_MAX:])


def _is_half(iteration: int) -> bool:
    """One significant digit, or a second one that is 5."""
    while iteration >= 100:
        iteration //= 10
    return iteration < 10 or iteration % 5 == 0


class _Packing:
    """Records of one attempt in, packed, and the words that they share out."""

    def __init__(self, since: int) -> None:
        self._since = since
        self.words: dict[tuple[str, str, str], int] = {}

    def __call__(self, item: Evidence, template: str = "", *values: object) -> _Cite:
        usual = template and item.summary == _TEMPLATES[template].format(*values)
        words = self.words.setdefault((item.role, item.source, item.host), len(self.words))
        ids = _bytes(item.event_id, ID_BYTES), _bytes(item.sha256, SHA_BYTES)
        return _Cite(words, *ids, item.event_time - self._since, None if usual else item.summary)


def _whole(kept: _Kept) -> JobSummary:
    since, words = kept.attempt.submit, kept.words
    hosts = kept.hosts or ("",) * len(words)

    def cited(cite: _Cite, template: str = "", *values: object) -> Evidence:
        role, source = words[cite.words]
        said = cite.said if cite.said is not None else _TEMPLATES[template].format(*values)
        return Evidence(
            role, _text(cite.event_id, ID_BYTES), _text(cite.sha256, SHA_BYTES), source, since + cite.time, said, hosts[cite.words]
        )

    def steps() -> Iterator[Step]:
        for each in kept.steps:
            samples = {True: float(each.iteration), False: None}[each.samples] if isinstance(each.samples, bool) else each.samples
            shown = cited(each.cited, "step", each.iteration, each.loss)
            yield Step(each.iteration, each.loss, each.learning_rate, shown, samples, each.gradient_norm)

    return JobSummary(
        attempt=kept.attempt,
        owner=kept.owner,
        configuration=kept.configuration,
        gpus=kept.gpus,
        nodes=kept.nodes,
        end=kept.end,
        state=kept.state,
        verdict=kept.verdict,
        cause=kept.cause,
        seen=kept.seen,
        record=cited(kept.record) if kept.record else None,
        pace=Pace(*kept.pace[:3], cited(kept.pace[3]), cited(kept.pace[4])) if kept.pace else None,
        steps=tuple(steps()),
        exposures=tuple(
            Exposure(
                each.path,
                each.writer,
                since + each.written,
                cited(each.write),
                cited(each.load, "loaded", kept.attempt.job, each.path),
                _text(each.sha256, SHA_BYTES),
                each.restored,
                each.own,
            )
            for each in kept.exposures
        ),
        arguments=tuple((name, said, cited(cite, "argument", name, said)) for name, said, cite in kept.arguments),
        loads_told=kept.loads_told,
    )


def _bytes(value: str, size: int) -> bytes:
    """A hash as bytes, of which it has `size`; what is none never has as many."""
    if len(value) == 2 * size:
        try:
            packed = bytes.fromhex(value)
        except ValueError:
            packed = b""
        if packed.hex() == value:
            return packed
    text = value.encode() + NO_TEXT
    return text if len(text) != size else text + NO_TEXT


def _text(value: bytes, size: int) -> str:
    return value.hex() if len(value) == size else value.rstrip(NO_TEXT).decode()
