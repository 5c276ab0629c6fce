"""Adding a format is one file, one test file and one line: README's example, and that it works.

Between the two rules stands the file that README shows, `pipeline/formats/payloads/nodewatch.py`; the line in the registry and the row in
the table of `test_registry.py` are the fixture's.  What the other tests ask of every format is asked of this one by their own functions.
"""

import ast
import builtins
import re
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipeline.bench.fuzz import run
from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.fields import bounded_int, iso_time, text_of
from pipeline.formats.line import Line, Reading
from pipeline.formats.sniff import sniff
from pipeline.model.events import Parsed, Xid
from pipeline.model.source import FAMILIES, Source
from tests.property import test_fuzz_formats
from tests.unit.formats import test_linear_time, test_registry

# ---------------------------------------------------------------------------------------------------------------------------------
_LINE = re.compile(r"nodewatch (\S{1,40}) (\S{1,255}) xid=([0-9]{1,4}) device=(\S{1,64})")


class Nodewatch:
    """What the site's checker of nodes found."""

    name = "nodewatch"
    source = Source.KERNEL  # the family that it speaks for: says on which topics it is believed
    begins = (b"nodewatch ",)  # optional: a line that begins so is offered to this format first

    def claims(self, payload: bytes) -> bool:
        """Its name at the start."""
        return payload.startswith(b"nodewatch ")

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One Xid.  Raises UnknownFormat: not ours, others are asked; DecodeError: ours, and broken."""
        found = _LINE.fullmatch(text_of(line.payload))
        if found is None:
            raise UnknownFormat("no line of nodewatch")
        time, host, code, device = found.groups()
        body = Xid(code=bounded_int(code), device=device)
        return (Parsed(source=self.source, host=host, event_time=iso_time(time, reading), body=body),)


FORMAT = Nodewatch()
# ---------------------------------------------------------------------------------------------------------------------------------

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
TEXT = b"nodewatch 2026-03-02T19:40:41.318 gpu-012 xid=79 device=0000:83:00"


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in `PAYLOADS`, what the registry makes of that list when it is imported, and the row in `LINES`."""
    formats = (*(format_ for format_ in registry.PAYLOADS if format_.name != FORMAT.name), FORMAT)
    rows = [row for row in test_registry.LINES if row[0] != FORMAT.name]
    monkeypatch.setattr(test_registry, "LINES", [*rows, (FORMAT.name, TEXT.decode())])
    monkeypatch.setattr(registry, "PAYLOADS", formats)
    monkeypatch.setattr(registry, "_BY_NAME", {format_.name: format_ for format_ in formats})
    monkeypatch.setattr(registry, "_ARRANGED", {})


def test_what_is_asked_of_every_format() -> None:
    """Nothing more is needed for the tests that take all formats: it is sniffed before others, has lines to be changed, and is linear."""
    test_registry.test_every_format_has_a_row()
    test_registry.test_sniffing_finds_the_format(FORMAT.name, TEXT.decode())
    assert test_registry.some_lines(FORMAT.name, 20) == [TEXT]
    test_linear_time.test_formats(FORMAT)


def test_fuzzing_takes_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the tests with its row, by `trainwatch bench fuzz` with samples of the site, or with other formats' lines where there are none."""
    monkeypatch.setitem(test_fuzz_formats.GOOD, FORMAT.name, test_registry.some_lines(FORMAT.name, 20))
    test_fuzz_formats.test_good_lines_are_good(FORMAT)
    for payload in (TEXT, TEXT[:40], TEXT.replace(b"79", b"9" * 4000), TEXT.replace(b"2026", b"1026")):
        assert test_fuzz_formats.broken(FORMAT, payload) == []
    for samples, typed in (([TEXT], True), ([], False)):
        report = run([FORMAT.name], 5.0, seed=1, samples=samples, keep=None, say=print, inputs_max=300)
        assert (report.inputs, report.violations, report.formats[0].typed > 0) == (300, [], typed)


@pytest.mark.parametrize("pinned", ["", "nodewatch"])
def test_the_line_is_read(pinned: str) -> None:
    """Sniffed among its family or pinned, the line is an Xid on that host, its time local to the zone of the source."""
    format_, events = registry.parse(Line(payload=TEXT), READING, pinned, FAMILIES["access"])
    assert format_ is FORMAT
    xid = Xid(code=79, device="0000:83:00")
    assert events == (Parsed(source=Source.KERNEL, host="gpu-012", event_time=1_772_451_641_318, body=xid),)


def test_other_topics_do_not_believe_it() -> None:
    """Whoever can print into a job's output does not speak for the kernel by it."""
    with pytest.raises(UnknownFormat):
        registry.parse(Line(payload=TEXT), READING, allowed=FAMILIES["training"])


def test_what_is_not_its_own() -> None:
    """Other lines go on to others; a broken time is named, and the format with it."""
    with pytest.raises(UnknownFormat):
        registry.parse(Line(payload=b"nodewatch is about to start"), READING)
    with pytest.raises(DecodeError) as caught:
        registry.parse(Line(payload=TEXT.replace(b"03-02", b"02-30")), READING)
    assert caught.value.format == "nodewatch"


def test_sniffing_shows_it() -> None:
    """`trainwatch sniff` names the new format."""
    report = sniff([TEXT] * 3)
    assert [(share.format, share.typed) for share in report.formats] == [("nodewatch", 3)]
    assert report.times.without_zone == 3


def test_readme_shows_this_example() -> None:
    """What README shows is what was tried here, to the letter."""
    readme = Path(__file__).parents[3].joinpath("README.md").read_text(encoding="utf-8")
    if "class Nodewatch" not in readme:
        pytest.skip("README does not show the example")
    example = Path(__file__).read_text(encoding="utf-8").split(f"# {'-' * 129}\n")[1]
    assert example.strip() in readme


def test_readme_shows_a_whole_file() -> None:
    """Who copies the block has all the imports; a name of ours that moves must move there, too."""
    readme = Path(__file__).parents[3].joinpath("README.md").read_text(encoding="utf-8")
    block = next((each for each in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "class Nodewatch" in each), "")
    if "import " not in block:
        pytest.skip("README does not show the imports")
    tree = ast.parse(block)
    imported: list[ast.stmt] = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    namespace: dict[str, object] = {}
    exec(compile(ast.Module(imported, []), "README.md", "exec"), namespace)  # noqa: S102  our own imports
    known = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    known |= {each.name for each in ast.walk(tree) if isinstance(each, ast.ClassDef)} | {"self", "payload", "line", "reading"}
    used = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
    assert used - known - namespace.keys() - set(dir(builtins)) == set()
