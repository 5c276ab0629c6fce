"""Mutated lines of every format in; what went wrong out: nothing, when the formats keep their word.

Each input is asked of its own format, as if the settings pinned it, and sent through ingest as a record, bare or in a wrapper, on a topic
of its family.  What must hold, whatever the bytes:

    claims, parse    answer, or raise a RejectedRecord; the same a second time
    event            goes through MessagePack and comes back as it was, and through JSON
    ingest           one outcome or more, the same a second time: ids depend on nothing but the record
    row              is taken by ClickHouse's columns, as the sink builds them
    time             at most SLOW_MICROSECONDS and SLOW_MICROSECONDS_PER_BYTE, measured again before it is believed: the first is what a
                     list of NODES_MAX nodes costs in a few bytes, the second far above any linear parser

A violation is kept with its input as a file of hexadecimal digits.  The dice are seeded: the same seed gives the same inputs in the
same order; only how far they come in the time depends on the machine.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

import msgspec
import orjson
from rich.table import Table

from pipeline.bench.format_lines import MAKERS, lines_of
from pipeline.bench.fuzz_input import Mutator, good_lines
from pipeline.errors import RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Line, Payload, Reading
from pipeline.ingest import step as ingest
from pipeline.model.events import AccessLine, ControllerNote, DaemonNote, Event, KernelLine, Parsed, ProbeNote, TrainingLine
from pipeline.model.outcome import EventRow, Filtered, Outcome, Record, Rejected
from pipeline.model.source import FAMILIES
from pipeline.model.told import decode_told, encode_told
from pipeline.settings import Settings
from pipeline.sink.rows import EVENTS, columns_of, refused
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING

READING = Reading(zone=ZoneInfo("Europe/Berlin"), reference_time=1_772_600_000_000, host="gpu-001")
LINES_OF_EACH = 60
SAMPLE_LINES_MAX = 4_000
SLOW_MICROSECONDS, SLOW_MICROSECONDS_PER_BYTE = 300_000.0, 5.0
TIMED_BYTES_MIN = 512  # of shorter lines the fixed cost is the most
VIOLATIONS_MAX = 100  # kept
SAY_SECONDS = 20.0
GENERIC = (AccessLine, TrainingLine, ControllerNote, DaemonNote, KernelLine, ProbeNote)


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken."""

    format: str
    what: str  # claims | parse | encode | ingest | row | differs | slow
    text: str
    file: str  # the input, as hexadecimal digits; empty: not kept


class FormatCount(msgspec.Struct):
    """What became of one format's inputs."""

    format: str
    inputs: int = 0
    typed: int = 0
    generic: int = 0  # the line is known and its fields are not taken apart
    nothing: int = 0  # read, and of no interest
    rejected: dict[str, int] = {}
    microseconds_per_byte_max: float = 0.0
    worst_bytes: int = 0


class FuzzReport(msgspec.Struct):
    """A run."""

    seed: int
    seconds: float
    inputs: int
    bytes: int
    formats: list[FormatCount]
    ingest: dict[str, int]  # outcomes of the records by kind or code
    violations: list[Violation]

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


class Caught:
    """`with Caught() as caught:` whatever is raised inside, of any class: here it is what is looked for.  Wishes to end go on."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self.error = error
        return kind is None or not issubclass(kind, KeyboardInterrupt | SystemExit | GeneratorExit)

    @property
    def wrong(self) -> bool:
        """Whether something was raised that is no word on the record."""
        return self.error is not None and not isinstance(self.error, RejectedRecord)

    def __str__(self) -> str:
        return "" if self.error is None else f"{type(self.error).__name__}: {self.error}"[:500]


class Examiner:
    """Asks formats and ingest, and compares what they say with what they promised."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        kafka = settings.kafka
        topics = {"training": kafka.training_topics, "scheduler": kafka.scheduler_topics, "access": kafka.access_topics}
        self._topics = {source: topics[family][0] for family, sources in FAMILIES.items() for source in sources}
        self._state = ingest.build_state(settings, Cases())
        self.outcomes: Counter[str] = Counter()

    def examine(self, format_: Payload, payload: bytes, count: FormatCount, program: str = "") -> Iterator[tuple[str, str]]:
        """(promise, what happened) of every promise that was broken by a line."""
        line = Line(payload=payload, program=program)
        count.inputs += 1
        with Caught() as caught:
            format_.claims(payload)
        if caught.error is not None:
            yield "claims", str(caught)
            return
        begun = time.process_time()
        events, caught = _parsed(format_, line)
        spent = 1e6 * (time.process_time() - begun)
        if len(payload) >= TIMED_BYTES_MIN:
            yield from self._timed(format_, line, count, spent / len(payload))
        if caught.wrong:
            yield "parse", str(caught)
            return
        if isinstance(caught.error, RejectedRecord):
            count.rejected[caught.error.code] = count.rejected.get(caught.error.code, 0) + 1
        again, caught_again = _parsed(format_, line)
        if str(caught) != str(caught_again):
            yield "differs", f"{caught} / {caught_again}"
        if caught.error is None:
            _counted(events, count)
            yield from _told(events, again)

    def _timed(self, format_: Payload, line: Line, count: FormatCount, rate: float) -> Iterator[tuple[str, str]]:
        limit = SLOW_MICROSECONDS_PER_BYTE + SLOW_MICROSECONDS / len(line.payload)
        if rate <= min(count.microseconds_per_byte_max, limit):
            return
        for _ in range(3):
            begun = time.process_time()
            _parsed(format_, line)
            rate = min(rate, 1e6 * (time.process_time() - begun) / len(line.payload))
        if rate > count.microseconds_per_byte_max:
            count.microseconds_per_byte_max, count.worst_bytes = rate, len(line.payload)
        if rate > limit:
            yield "slow", f"took {rate:.1f} us per byte of {len(line.payload)}"

    def examine_record(self, format_: Payload, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> Iterator[tuple[str, str]]:
        """The same of a whole record that comes on a topic of the format's family."""
        topic = self._topics[format_.source]
        record = Record(topic=topic, partition=0, offset=1, timestamp=READING.reference_time, value=value, headers=headers)
        with Caught() as caught:
            outcomes = self._step(record)
            if _said(outcomes) != _said(self._step(record)):
                yield "differs", "ingest answered otherwise when it was asked again"
            rows = [out for out in outcomes if isinstance(out, EventRow)]
        if caught.error is not None:
            yield "ingest", str(caught)
            return
        for out in outcomes:
            self.outcomes[str(out.code) if isinstance(out, Rejected) else type(out).__name__] += 1
        with Caught() as caught:
            columns_of(EVENTS, rows)
        if caught.error is not None or refused(EVENTS, rows):
            yield "row", f"{caught} {refused(EVENTS, rows)}"

    def _step(self, record: Record) -> list[Outcome]:
        return ingest.step(self._state, [record], NOTHING)[1]


def _said(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """What became of the record itself; what stages are told may be left out when they were told already."""
    return [out for out in outcomes if isinstance(out, EventRow | Rejected | Filtered)]


def _parsed(format_: Payload, line: Line) -> tuple[Sequence[Parsed], Caught]:
    events: Sequence[Parsed] = ()
    with Caught() as caught:
        events = format_.parse(line, READING)
    return events, caught


def _counted(events: Sequence[Parsed], count: FormatCount) -> None:
    if not events:
        count.nothing += 1
    elif all(isinstance(event.body, GENERIC) for event in events):
        count.generic += 1
    else:
        count.typed += 1


def _told(events: Sequence[Parsed], again: Sequence[Parsed]) -> Iterator[tuple[str, str]]:
    """As stages tell one another.  Compared as bytes, since a diverged loss equals nothing."""
    with Caught() as caught:
        said = [encode_told(_event(parsed)) for parsed in events]
        if said != [encode_told(decode_told(each)) for each in said]:
            yield "encode", "an event came back from MessagePack as another"
        if said != [encode_told(_event(parsed)) for parsed in again]:
            yield "differs", "the line was read otherwise when it was read again"
        for parsed in events:
            msgspec.json.encode(parsed)
    if caught.error is not None:
        yield "encode", str(caught)


def _event(parsed: Parsed) -> Event:
    time_ = READING.reference_time if parsed.event_time is None else parsed.event_time
    return Event(id="", source=parsed.source, cluster="main", event_time=time_, body=parsed.body, host=parsed.host)


# --- a run ------------------------------------------------------------------------------------------------------------------------


class Wrapping:
    """Records that carry a line, as shippers make them."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def of(self, payload: bytes) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
        """(value, headers)."""
        headers = (("host", b"gpu-001"), ("source", b"x"), ("file", b"/scratch/slurm-48213.out"), ("offset", b"7"))
        which = self._dice.randrange(7)
        if which < 3:
            return payload, headers if which else ()
        text = payload.decode("utf-8", "replace")
        wrappers: dict[int, dict[str, object]] = {
            3: {"message": text, "host": {"name": "gpu-001"}, "log": {"file": {"path": "/x"}, "offset": 7}},
            4: {"@timestamp": 1_772_480_441.318, "log": text, "stream": "stderr", "kubernetes": {"pod_name": "u017-0"}},
            5: {"MESSAGE": text, "HOST": "login-1", "PROGRAM": "sshd", "PID": "9", "ISODATE": "2026-03-02T19:40:41+00:00"},
            6: {"version": "1.1", "host": "login-1", "short_message": text, "timestamp": 1_772_480_441.318, "_program": "sshd"},
        }
        return orjson.dumps(wrappers[which]), ()


def run(
    names: Sequence[str], seconds: float, *, seed: int, samples: Sequence[bytes], keep: Path | None, say: Callable[[str], None],
    inputs_max: int = 0,
) -> FuzzReport:  # fmt: skip
    """Mutate for so many seconds, at most `inputs_max` lines when that is not 0.  `samples` are real lines, mutated for every format."""
    dice = random.Random(seed)
    others = [line for name in MAKERS for line in lines_of(name, 1, seed)]
    lines = {name: good_lines(name, LINES_OF_EACH, seed) or list(samples) or others for name in names}
    stock = [line for some in lines.values() for line in some[:6]] + list(samples)
    mutator, mutator_of_records, wrapping = Mutator(dice, stock), Mutator(random.Random(seed + 1), stock), Wrapping(dice)
    examiner = Examiner(Settings())
    counts = {name: FormatCount(name) for name in names}
    violations: list[Violation] = []
    seen: set[tuple[str, str, str]] = set()
    report = FuzzReport(seed, 0.0, 0, 0, list(counts.values()), {}, violations)
    begun = said = time.monotonic()

    def note(name: str, payload: bytes, broken: Iterator[tuple[str, str]]) -> None:
        for what, text in broken:
            key = (name, what, "" if what == "slow" else text.split(":", 1)[0])
            if key in seen or len(violations) >= VIOLATIONS_MAX:
                continue
            seen.add(key)
            violations.append(Violation(name, what, text, _kept(keep, f"{len(violations):03d}-{name}-{what}", payload)))
            say(f"VIOLATION {name} {what}: {text}")

    while time.monotonic() - begun < seconds and not (inputs_max and report.inputs >= inputs_max):
        for name in names:
            format_ = registry.by_name(name)
            start = dice.choice(samples) if samples and dice.random() < 0.2 else dice.choice(lines[name])
            payload = mutator.changed(start)
            note(name, payload, examiner.examine(format_, payload, counts[name], dice.choice(("", "", format_.name))))
            value, headers = wrapping.of(payload)
            if dice.random() < 0.1:
                value = mutator_of_records.changed(value)
            note(name, value, examiner.examine_record(format_, value, headers))
            report.inputs += 1
            report.bytes += len(payload)
        if time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            say(f"{said - begun:,.0f} of {seconds:,.0f} s: {report.inputs:,} inputs, {len(violations)} violations")
    report.seconds, report.ingest = time.monotonic() - begun, dict(sorted(examiner.outcomes.items()))
    return report


def _kept(folder: Path | None, name: str, payload: bytes) -> str:
    if folder is None:
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.hex"
    path.write_text(payload.hex() + "\n", encoding="ascii")
    return str(path)


def sample_lines(path: Path, seed: int) -> list[bytes]:
    """Lines of a file, or of the files of a folder; so many, chosen by the seed."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    lines = [line for each in files for line in each.read_bytes().split(b"\n") if line.strip()]
    return lines if len(lines) <= SAMPLE_LINES_MAX else random.Random(seed).sample(lines, SAMPLE_LINES_MAX)


def table(report: FuzzReport) -> Table:
    """For people."""
    title = f"{report.inputs:,} mutated lines ({report.bytes / 1e6:,.0f} MB) in {report.seconds:,.0f} s, seed {report.seed}"
    found = Table(title=f"{title}: {len(report.violations)} violations", title_justify="left")
    columns = "format", "inputs", "typed", "generic", "unknown", "decode", "schema", "time", "worst us/byte", "of bytes"
    for number, column in enumerate(columns):
        found.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    codes = "unknown_format", "decode_error", "schema_mismatch", "timestamp_out_of_range"
    for each in report.formats:
        rejected = [f"{each.rejected.get(code, 0):,}" for code in codes]
        rest = f"{each.microseconds_per_byte_max:.2f}", f"{each.worst_bytes:,}"
        found.add_row(each.format, f"{each.inputs:,}", f"{each.typed:,}", f"{each.generic:,}", *rejected, *rest)
    return found


ALL = tuple(format_.name for format_ in registry.PAYLOADS)
