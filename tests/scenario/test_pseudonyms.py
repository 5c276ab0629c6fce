"""Every story told once as it is and once with pseudonyms: the same is found, under other names, and no name is left anywhere but in raw.

What is expected is worked out from the plain run by renaming its words, so the renaming must be the only difference: had a role, a team, a
ticket, a path or a tie depended on a name, findings would differ.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest
import yaml

from pipeline.model.outcome import EventRow, Publish
from pipeline.model.privacy import Pseudonyms
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.runtime.partition import Source
from pipeline.settings import PrivacySettings, Role, Settings
from tests import build
from tests.scenario.lines import ship
from tests.scenario.test_scenarios import FOLDER, SHUFFLE_SECONDS, STORIES, lines_of, run, settings_of

PRIVACY = PrivacySettings.model_validate({"pseudonyms": True, "key": "a key for tests alone"})
DIGESTS = frozenset({"id", "anchor", "founder", "aliases", "finding", "findings", "label", "settings"})  # of what may have names in it
LABEL = re.compile(r"person-[0-9a-f]{8}")  # in place of a name that is withheld: a digest of it


class Words(NamedTuple):
    """What becomes of texts and of numeric ids."""

    text: Callable[[str], str]
    uid: Callable[[int], int]


def renamed(value: Any, words: Words) -> Any:
    """A body in these words; digests of names left out, and lists in the order of the words."""
    if isinstance(value, dict):
        uids = {name: words.uid(each) for name, each in value.items() if name.endswith("uid") and isinstance(each, int)}
        return {words.text(name): renamed(each, words) for name, each in value.items() if name not in DIGESTS} | uids
    if isinstance(value, list):
        return sorted((renamed(each, words) for each in value), key=orjson.dumps)
    return LABEL.sub("person-x", words.text(value)) if isinstance(value, str) else value


def bodies(results: Results, words: Words) -> dict[str, list[Any]]:
    """What was said, ready to be compared."""
    kinds = {"findings": results.canonical_findings(), "verdicts": results.canonical_verdicts(), "incidents": results.canonical_incidents()}
    return {
        kind: sorted((renamed(orjson.loads(body), words) for body in found.values()), key=orjson.dumps) for kind, found in kinds.items()
    }


def told(results: Results) -> set[str]:
    """Every text that leaves the pipeline, but the raw bytes and numbers of jobs."""
    rows = [msgspec.to_builtins(row) for row in results.rows if isinstance(row, EventRow)]
    said = [results.canonical_findings(), results.canonical_verdicts(), results.canonical_incidents()]
    found = [orjson.loads(body) for each in said for body in each.values()]
    jobs = {row["job"] for row in rows}
    return {text for each in (*({**row, "raw": ""} for row in rows), *found) for text in texts_in(each)} - jobs


def texts_in(value: Any) -> Iterator[str]:
    """All strings of a body, names of its fields included."""
    if isinstance(value, str):
        yield value
    for each in value.items() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from texts_in(each)


def names_in(settings: Settings, texts: set[str]) -> set[str]:
    """Names and uids of people of the map that stand in the texts as words."""
    people = [entry for entry in settings.identities if entry.role is not Role.SERVICE]
    words = {*(name for entry in people for name in entry.all_names()), *(str(entry.uid) for entry in people if entry.uid)}
    whole = "\n".join(texts)
    found = set(re.findall(r"[A-Za-z0-9]+", whole))
    return {word for word in words if (word in found if word.isalnum() else word in whole)}


@pytest.fixture
def overheard(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every byte that is published, or told from stage to stage."""
    heard: list[bytes] = []
    take, append = Results.take, LocalRuntime._append

    def taken(self: Results, out: Publish) -> dict[str, object] | None:
        heard.append(out.value)
        return take(self, out)

    def appended(self: LocalRuntime, source: Source, key: bytes | None, value: bytes) -> None:
        heard.append((key or b"") + value)
        append(self, source, key, value)

    monkeypatch.setattr(Results, "take", taken)
    monkeypatch.setattr(LocalRuntime, "_append", appended)
    return heard


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_is_the_same_under_other_names(path: Path, overheard: list[bytes]) -> None:
    """Findings, verdicts and incidents are those of the plain run, renamed; and nobody is named in anything that is told."""
    story: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not story["expect"].get("findings"):
        pytest.skip("nothing is found, so there is nothing to compare")
    records = list(ship(lines_of(story)))
    given = settings_of(story)
    plain, openly = run(records, 1, 20, given), b"".join(overheard)
    overheard.clear()
    veiled, hidden = run(records, 1, 20, {**given, "privacy": PRIVACY}), b"".join(overheard)
    pseudonyms = build.settings(**given, privacy=PRIVACY).veil().pseudonyms
    assert isinstance(pseudonyms, Pseudonyms)
    expected = bodies(plain, Words(pseudonyms.text, pseudonyms.uid))
    assert bodies(veiled, Words(str, int)) == expected
    assert expected["findings"]
    assert names_in(build.settings(**given), told(veiled)) == set()
    assert names_in(build.settings(**given), told(plain)), "the plain run names nobody either: the test shows nothing"
    logins = [entry.login.encode() for entry in build.settings(**given).identities if entry.role is not Role.SERVICE]
    assert any(login in openly for login in logins)
    assert [login for login in logins if login in hidden] == []


def test_order_and_partitions_change_nothing() -> None:
    """The same pseudonyms, and the same bodies, whoever works and in whatever order."""
    story = yaml.safe_load((FOLDER / "foreign_kill_su.yaml").read_text(encoding="utf-8"))
    records, given = list(ship(lines_of(story))), {**settings_of(story), "privacy": PRIVACY}
    dice = random.Random(7)
    spread = [msgspec.structs.replace(record, partition=dice.randrange(4)) for record in records]
    dice.shuffle(spread)
    spread.sort(key=lambda record: record.timestamp + dice.uniform(0, SHUFFLE_SECONDS * 1000))
    one, four = run(records, 1, 20, given), run(spread, 4, 7, given)
    assert one.canonical_findings() == four.canonical_findings() != {}
    assert one.canonical_incidents() == four.canonical_incidents()


def test_what_is_masked_is_told_nowhere_and_judged_by_nothing(overheard: list[bytes]) -> None:
    """Without command lines a cancel is known from the controller: found, and no command stands anywhere but in raw."""
    story = yaml.safe_load((FOLDER / "foreign_cancel.yaml").read_text(encoding="utf-8"))
    records = list(ship(lines_of(story)))
    assert b"scancel" in b"".join(record.value or b"" for record in records)
    results = run(records, 1, 20, {**settings_of(story), "privacy": PrivacySettings(mask=("arguments", "command"))})
    assert {orjson.loads(body)["detector"] for body in results.canonical_findings().values()} == {"p03_foreign_cancel"}
    rows = [row.attrs for row in results.rows if isinstance(row, EventRow) and row.attrs.get("record_type") == "EXECVE"]
    assert {attrs["a0"] for attrs in rows} == {"(masked)"}
    assert b"scancel 7" not in b"".join(overheard)
