"""Hostile lines: whatever the bytes, a format keeps its promises, and so does ingest with what it makes of them.

The lines are good ones of every format (and real ones of others, where they are present), changed by the mutations of `bench fuzz` with
dice that hypothesis throws.  What is promised stands in `pipeline/bench/fuzz.py`; `trainwatch bench fuzz --minutes 60` is the long form.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bench import fuzz
from pipeline.bench.fuzz import Caught, Examiner, FormatCount, Wrapping
from pipeline.bench.fuzz_input import LINE_BYTES_MAX, NUMBERS, TEXTS, Mutator
from pipeline.cli import main
from pipeline.errors import DecodeError
from pipeline.formats import registry
from pipeline.formats.line import Line, Payload, Reading
from pipeline.model.events import Iteration, Parsed, TrainingLine
from pipeline.model.source import Source
from pipeline.settings import Settings
from tests.property.profile import examples
from tests.unit.formats.test_registry import some_lines

FORMATS = pytest.mark.parametrize("format_", registry.PAYLOADS, ids=lambda format_: format_.name)
GOOD = {format_.name: some_lines(format_.name, 20) for format_ in registry.PAYLOADS}
STOCK = [line for lines in GOOD.values() for line in lines[:3]]
EXAMINER = Examiner(Settings())


def broken(format_: Payload, payload: bytes) -> list[tuple[str, str]]:
    """Promises that were broken by a line, and by the record that it is the value of."""
    count = FormatCount(format_.name)
    return [*EXAMINER.examine(format_, payload, count), *EXAMINER.examine_record(format_, payload)]


@FORMATS
@examples(25)
@given(seed=st.integers(0, 2**32))
def test_mutations(format_: Payload, seed: int) -> None:
    """Twenty changed lines a throw, bare and in a wrapper, which is changed, too."""
    dice = random.Random(seed)
    mutator, wrapping = Mutator(dice, STOCK), Wrapping(dice)
    for _ in range(20):
        payload = mutator.changed(dice.choice(GOOD[format_.name]))
        assert broken(format_, payload) == []
        value, headers = wrapping.of(payload)
        assert list(EXAMINER.examine_record(format_, value, headers)) == []
        assert list(EXAMINER.examine_record(format_, mutator.changed(value), headers)) == []


@FORMATS
@examples(25)
@given(data=st.data())
def test_chosen_places(format_: Payload, data: st.DataObject) -> None:
    """Anything in place of anything: what a failure shows is small."""
    payload = data.draw(st.sampled_from(GOOD[format_.name]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(payload)))
        end = data.draw(st.integers(start, min(len(payload), start + 40)))
        hostile = st.sampled_from([*TEXTS, *NUMBERS]) | st.text(st.characters(codec=None), max_size=20)
        payload = payload[:start] + data.draw(hostile).encode("utf-8", "surrogatepass") + payload[end:]
    assert broken(format_, payload[:LINE_BYTES_MAX]) == []


@FORMATS
def test_good_lines_are_good(format_: Payload) -> None:
    """Nothing would be proved by changing lines that are read by nobody."""
    for payload in GOOD[format_.name]:
        assert list(format_.parse(Line(payload=payload), fuzz.READING))


@pytest.mark.shared_data
def test_real_lines_changed(shared_data: Path) -> None:
    """Lines that nobody here wrote, offered to every format."""
    lines = [*fuzz.sample_lines(shared_data / "access", 1), *fuzz.sample_lines(shared_data / "training", 1)]
    assert len(lines) > 1000
    dice = random.Random(1)
    mutator = Mutator(dice, lines)
    for number in range(3000):
        payload = mutator.changed(dice.choice(lines))
        assert broken(registry.PAYLOADS[number % len(registry.PAYLOADS)], payload) == []


# --- the examiner itself --------------------------------------------------------------------------------------------------------------


class Wrong:
    """A format that breaks a promise, as its line says."""

    name = "wrong"
    source = Source.TRAINING

    def __init__(self) -> None:
        self.asked = 0

    def claims(self, payload: bytes) -> bool:
        if payload.startswith(b"claims"):
            raise IndexError(payload)
        return True

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        self.asked += 1
        what = line.payload.split(b" ")[0].decode()
        if what == "raises":
            raise KeyError(what)
        if what == "rejects":
            raise DecodeError(what)
        if what == "changes":
            return (Parsed(source=Source.TRAINING, body=TrainingLine(what=str(self.asked))),)
        if what == "surrogate":
            return (Parsed(source=Source.TRAINING, body=TrainingLine(what="\ud800")),)
        if what == "huge":
            return (Parsed(source=Source.TRAINING, body=Iteration(iteration=2**70)),)
        if what == "slow":
            for place in range(len(line.payload)):
                line.payload[:place].replace(b"a", b"bb")
        return (Parsed(source=Source.TRAINING, body=Iteration(iteration=1, loss=float("nan"))),)


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b"claims", {"claims"}),
        (b"raises", {"parse"}),
        (b"rejects", set()),
        (b"changes", {"differs"}),
        (b"surrogate", {"encode"}),
        (b"huge", {"encode"}),
        (b"good", set()),
        (b"good " + b"a" * 60_000, set()),
    ],
    ids=lambda value: value[:10].decode() if isinstance(value, bytes) else "",
)
def test_a_broken_promise_is_seen(payload: bytes, found: set[str]) -> None:
    """One of each kind; a rejection and a diverged loss are none."""
    count = FormatCount("wrong")
    assert {what for what, _ in EXAMINER.examine(Wrong(), payload, count)} == found
    assert count.inputs == 1


def test_a_square_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that takes far longer for each byte than any; what a few bytes may cost is left out, to see it on a short line."""
    monkeypatch.setattr(fuzz, "SLOW_MICROSECONDS", 0.0)
    payload = b" " + b"a" * 8_000
    for what, found in ((b"slow", {"slow"}), (b"good", set())):
        assert {broken for broken, _ in EXAMINER.examine(Wrong(), what + payload, FormatCount("wrong"))} == found


def test_only_a_wish_to_end_passes() -> None:
    """All other errors are held, for they are what is looked for."""
    with Caught() as caught:
        raise MemoryError
    assert caught.wrong
    with pytest.raises(KeyboardInterrupt), Caught():
        raise KeyboardInterrupt


def test_the_same_seed_gives_the_same_lines() -> None:
    """A violation can be found again."""

    def some(seed: int) -> Iterator[bytes]:
        mutator = Mutator(random.Random(seed), STOCK)
        return (mutator.changed(line) for line in STOCK)

    assert list(some(1)) == list(some(1))
    assert list(some(1)) != list(some(2))
    assert max(map(len, some(3))) <= LINE_BYTES_MAX


def test_the_long_form_tells_what_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the input beside it, once for a kind of failure, and exit code 1."""

    def parse(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(registry.by_name("pbs"), "parse", parse)
    arguments = ["bench", "fuzz", "--minutes", "0.02", "--formats", "pbs,lsf", "--keep", str(tmp_path), "--json"]
    result = CliRunner().invoke(main, arguments)
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [each["format"] for each in report["violations"] if each["what"] == "parse"] == ["pbs"]
    for each in report["violations"]:
        bytes.fromhex(Path(each["file"]).read_text())


def test_the_long_form_is_quiet_where_nothing_broke(tmp_path: Path) -> None:
    """Every format gets its share, and nothing is left behind."""
    result = CliRunner().invoke(main, ["bench", "fuzz", "--minutes", "0.02", "--keep", str(tmp_path / "none"), "--json"])
    report = json.loads(result.stdout)
    assert (result.exit_code, report["violations"]) == (0, [])
    assert {each["format"] for each in report["formats"]} == {format_.name for format_ in registry.PAYLOADS}
    assert len({each["inputs"] for each in report["formats"]}) == 1
    assert not (tmp_path / "none").exists()
