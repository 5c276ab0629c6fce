"""Bundles that somebody made to break their reader: each has a verdict, an exit code, and no traceback."""

import json
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.evidence import verify
from pipeline.evidence.verify import Unreadable, read_bundle, verify_bundle
from tests.unit.evidence.build import files_of, resealed, written

DEEP: Any = json.loads("[" * 900 + "]" * 900)  # what json.loads takes and other code that recurses may not
NASTY: tuple[Any, ...] = (None, True, -1, 1.5, 10**4000, float("inf"), float("nan"), "", "\ud800", "\x1b[2J", [], {}, [[]], {"x": []}, DEEP)
NAMES = (verify.MANIFEST, verify.MANIFEST_SIGNATURE, verify.REPORT, verify.RECORDS, verify.CHAIN, verify.KEYS, verify.CUSTODY)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def with_at(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The value with another one at that place."""
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = with_at(copy[path[0]], path[1:], other)
    return copy


@pytest.mark.parametrize("name", NAMES)
def test_any_value_in_any_place_has_a_verdict(name: str) -> None:
    """Of wrong types, huge, nested, no text: a problem with a code of the list, and words that can be printed and sent on."""
    random_ = random.Random(name)
    lines = name.endswith(".jsonl")
    files = files_of()
    value = verify.lines_of(files[name]) if lines else json.loads(files[name])
    for path in places(value):
        for other in random_.sample(NASTY, 3):
            changed = with_at(value, path, other)
            several = changed if isinstance(changed, list) else [changed]
            text = "".join(f"{json.dumps(each)}\n" for each in several) if lines else json.dumps(changed)
            edited = {**files, name: text.encode()}
            for tried in (edited, resealed(dict(edited)) if name not in NAMES[:2] else edited):
                verdict = verify_bundle(tried)
                assert {problem.code for problem in verdict.problems} <= verify.CODES.keys()
                assert verify.told(verdict).isascii()
                assert not verdict.ok or tried is not edited or name == verify.MANIFEST_SIGNATURE, (path, other)


def test_deep_nesting_is_no_traceback() -> None:
    """In any file: the text of JSON has no bound of its own."""
    for name in NAMES:
        for text in (b"[" * 200_000, b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
            verdict = verify_bundle({**files_of(), name: text})
            assert "bundle_unreadable" in {problem.code for problem in verdict.problems}


def test_a_bundle_cut_anywhere_has_a_verdict(tmp_path: Path) -> None:
    """Or bits of it turned, as by a bad disk."""
    whole, cut = written(tmp_path).read_bytes(), tmp_path / "cut.zip"
    random_ = random.Random(7)
    for _ in range(400):
        damaged = bytearray(whole[: random_.randrange(len(whole))] if random_.random() < 0.3 else whole)
        for _ in range(random_.randrange(1, 4) if damaged else 0):
            damaged[random_.randrange(len(damaged))] ^= 1 << random_.randrange(8)
        cut.write_bytes(damaged)
        try:
            verdict = verify_bundle(read_bundle(cut))
        except Unreadable:
            continue
        assert verify.told(verdict).isascii()


def _named(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for each, content in files_of().items():
                archive.writestr(each, content)
            archive.writestr(zipfile.ZipInfo(name), b"x")

    return make


def _ends_early(path: Path) -> None:
    _named("a~b")(path)
    path.write_bytes(path.read_bytes().replace(b"a~b", b"a\x00b"))


def _link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc")


def _bomb(path: Path) -> None:
    """Says that it is small and is not: the sizes of the directory are changed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"0" * 1_000_000)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<L", 1_000_000), struct.pack("<L", 10)))


@pytest.mark.parametrize(
    "make",
    [*map(_named, ("../../etc/cron.d/x", "/etc/passwd", "a/../../b", "..\\x", "C:\\x", "C:/x", "./x")), _ends_early, _link, _bomb],
)
def test_an_archive_that_would_harm_whoever_unpacks_it_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Nothing of it is unpacked here, but people do, once it is said to be fine."""
    make(tmp_path / "b.zip")
    with pytest.raises(Unreadable):
        read_bundle(tmp_path / "b.zip")


def test_a_folder_with_a_link_in_it_is_refused(tmp_path: Path) -> None:
    """What it leads to is no part of what was handed over, and may be a file of whoever checks."""
    folder = written(tmp_path, "bundle")
    (tmp_path / "private").write_text("of whoever checks")
    (folder / "notes.txt").symlink_to(tmp_path / "private")
    with pytest.raises(Unreadable, match=r"notes\.txt"):
        read_bundle(folder)


def test_the_command_and_the_file_alone_say_the_same(tmp_path: Path) -> None:
    """The file is what somebody outside has: one line on standard error or verdicts on standard output, and an exit code."""
    folder = written(tmp_path, "bundle")
    (folder / "keys.json").write_text('{"keys": ' + "[" * 200_000)
    (folder / "report.json").write_text(json.dumps({"evidence": [], "unavailable": [{"event_id": "\ud800"}]}))
    done = CliRunner().invoke(main, ["evidence", "verify", str(folder), "--json"])
    assert (done.exit_code, orjson.loads(done.stdout)["ok"]) == (1, False), done.output
    witness = tmp_path / "witness"
    witness.write_text("[" * 200_000)
    for words, code in (((), 1), (("--witness", str(witness)), 2), (("--witness", str(tmp_path / "none")), 2)):
        ran = subprocess.run(
            [sys.executable, verify.__file__, str(folder), *words], capture_output=True, text=True, check=False, timeout=60
        )
        assert (ran.returncode, "Traceback" in ran.stderr, "bundle_unreadable" in ran.stdout + ran.stderr) == (code, False, True)
