"""Stories in YAML: what happened, told at relative seconds per stream; findings, verdicts and counts that must come of it.

    title     one sentence
    heard     sources that are alive throughout: an ordinary line of each every five minutes
    hosts     hosts of the per-host sources (default gpu-001)
    stream:   {at: 97, kill: {by: 5099}}         a word of `lines.Site` with its arguments, or
              {at: 97, line: "...", host: ...}   a line as it stands
    until     how long the cluster hums on after the last event (default two hours)
    expect    findings, verdicts and incidents with the fields that matter; counts of records, dead letters and filtered ones
              `job` is an attempt's, `about` the host or account of a finding that concerns no job
              any_verdicts: true where the story is not about how its many jobs ended; any_findings: nor about all that is found
              silent: detectors that find nothing, where others may; alone: those that find nothing but what is expected
              no_alert: what looks like a pattern and is none, by detector: a job, the first of several runs, a host, account or file of
              the story, and why.  A detector named there raises no alert but those that are expected

Of each pattern there are at least three alerts, and five that are silent: under `no_alert`, or findings with `alert: false`.

The whole pipeline runs in memory: bytes in, canonical bodies out.  Each story is told in order and in a shuffled order over four
partitions, and must come out the same.
"""

import random
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import yaml

from pipeline.detect.detector import registry
from pipeline.model.outcome import Record
from pipeline.runtime.local import LocalRuntime, Results
from tests import build
from tests.scenario.lines import TOPICS, Line, Site, ship, what

FOLDER = Path(__file__).parent
STORIES = sorted(FOLDER.glob("*.yaml"))
HUM_SECONDS = 300
HUM_BEFORE, HUM_AFTER = 4_200, 7_200
SHUFFLE_SECONDS = 60


@cache
def story_in(path: Path) -> Any:
    """A story as it stands in its file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def lines_of(story: Mapping[str, Any]) -> Iterator[Line]:
    """All lines of a story, the hum included."""
    site = Site()
    moments = [0.0]
    for stream in TOPICS:
        for told in story.get(stream, ()):
            at = float(told["at"])
            moments.append(at)
            if "line" in told:
                yield Line(at, stream, told.get("host", ""), told.get("source", ""), told.get("file", ""), told["line"])
                continue
            (word,) = told.keys() - {"at"}
            made = what(site, word)(at, **(told[word] or {}))
            assert stream in {line.stream for line in made}, f"{word} does not happen on the {stream} stream"
            yield from made
    heard, hosts = story.get("heard", ()), story.get("hosts", (build.HOST,))
    for at in range(int(min(moments)) - HUM_BEFORE, int(max(moments)) + int(story.get("until", HUM_AFTER)), HUM_SECONDS):
        yield from site.hum(at, heard, hosts)


def run(records: list[Record], partitions: int, every: int, settings: Mapping[str, Any]) -> Results:
    """Through the whole pipeline, with a checkpoint every so many records."""
    runtime = LocalRuntime(build.settings(**settings), partitions, keep_rows=True)
    for at in range(0, len(records), every):
        runtime.feed(records[at : at + every])
        runtime.checkpoint()
    return runtime.finish()


def settings_of(story: Mapping[str, Any]) -> dict[str, Any]:
    """A story may have tickets and the like; times are told in seconds there too."""
    given = dict(story.get("settings", {}))
    if "tickets" in given:
        given["tickets"] = tuple(build.ticket(**{**each, "identities": tuple(each["identities"])}) for each in given["tickets"])
    if "identities" in given:  # beside, or in place of, the usual ones; the end of validity in seconds
        own = [{**each, "valid_to": build.ms(each["valid_to"]) / 1000} if "valid_to" in each else each for each in given["identities"]]
        known = [each for each in build.IDENTITIES if each.id not in {entry["id"] for entry in own}]
        given["identities"] = (*known, *own)
    return given


def fits(expected: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Do the fields that the story names have these values?  `job` is the attempt's, a checklist entry `name: answer`."""
    said = {**body, "job": body["attempt"][1] if body["attempt"] else "", "about": (body.get("subject") or ["", "", ""])[2]}
    said["checklist"] = {item["name"]: item["answer"] for item in body["checklist"]}
    said["missing"] = sorted({missing for item in body["checklist"] for missing in item["missing"]})
    said["by"] = (body.get("by") or {}).get("source", "")
    said["evidence"] = sorted({item["source"] for item in body.get("evidence", ())})
    for name, value in expected.items():
        if name == "checklist":
            if any(said["checklist"][item] != answer for item, answer in value.items()):
                return False
        elif said[name] != value:
            return False
    return True


def _about(incident: Mapping[str, Any]) -> dict[str, Any]:
    """What a story says of an incident; a label is no name, and differs by site only."""
    said = incident["attribution"]
    detectors = [member["detector"].partition("_")[0] for member in incident["members"]]
    scope = {name: incident["scope"][name] for name in ("users", "unaffected_users", "examined", "unaffected")}
    return {"detectors": detectors, "named": said["named"], "leader": said["leader"].partition("/")[0], **scope}


def _words(told: Any) -> set[str]:
    """All that a story, or a part of it, tells of by name or number."""
    if not isinstance(told, (dict, list)):
        return {str(told)}
    inside = [each for key, each in told.items() if key not in ("title", "expect")] if isinstance(told, dict) else told
    return set().union(*map(_words, inside))


def _names(body: Mapping[str, Any]) -> set[str]:
    """What a finding is about."""
    return {body["attempt"][1] if body["attempt"] else "", (body.get("subject") or ["", "", ""])[2], body["anchor"]}


def _count(story: Mapping[str, Any], detector: str, *, alert: bool) -> int:
    """How many findings of a detector, alerts or below the gate, a story expects."""
    return sum(each["detector"] == detector and each.get("alert") is alert for each in story["expect"].get("findings", ()))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    """What is expected is found, and nothing else; in any order, over any number of partitions."""
    story = story_in(path)
    records = list(ship(lines_of(story)))
    results = run(records, 1, 20, settings_of(story))
    expect = story["expect"]
    bodies = {
        "findings": [orjson.loads(body) for body in results.canonical_findings().values()],
        "verdicts": [orjson.loads(body) for body in results.canonical_verdicts().values()],
    }
    for kind, found in bodies.items():
        wanted = expect.get(kind, [])
        left = list(found)
        for each in wanted:
            match = next((body for body in left if fits(each, body)), None)
            assert match is not None, f"{kind}: {each} is not among {left}"
            left.remove(match)
        assert left == [] or expect.get(f"any_{kind}"), f"{kind} that nobody expected"
        assert {body.get("detector") for body in left}.isdisjoint(expect.get("alone", ()))
    assert {body["detector"] for body in bodies["findings"]}.isdisjoint(expect.get("silent", ()))
    for detector, cases in expect.get("no_alert", {}).items():
        alerts = [body for body in bodies["findings"] if body["detector"] == detector and body["alert"]]
        assert len(alerts) == _count(story, detector, alert=True), f"alerts of {detector} that nobody expected: {alerts}"
        about = set(map(str, cases))
        assert about <= _words(story), f"{detector}: the story does not tell of {about - _words(story)}"
        assert about.isdisjoint(name for body in alerts for name in _names(body))
    if "incidents" in expect:
        assert [_about(orjson.loads(body)) for body in results.canonical_incidents().values()] == expect["incidents"]
    counts = {
        "records": results.records,
        "rejected": len(results.dead_letters),
        "filtered": len(results.listed) - len(results.dead_letters),
    }
    assert {name: counts[name] for name in expect.get("counts", {})} == expect.get("counts", {})

    dice = random.Random(path.stem)
    shuffled = sorted(records, key=lambda record: record.timestamp + dice.uniform(0, SHUFFLE_SECONDS * 1000))
    spread = [msgspec.structs.replace(record, partition=dice.randrange(4)) for record in shuffled]
    again = run(spread, 4, 7, settings_of(story))
    assert again.canonical_findings() == results.canonical_findings()
    assert again.canonical_verdicts() == results.canonical_verdicts()
    assert again.canonical_incidents() == results.canonical_incidents()


@pytest.mark.parametrize("detector", [each.meta.id for each in registry()])
def test_each_pattern_has_its_stories(detector: str) -> None:
    """Three that fire and five that do not, told in YAML; without any the test above would pass, too."""
    stories = [story_in(path) for path in STORIES]
    silent = [len(story["expect"].get("no_alert", {}).get(detector, ())) + _count(story, detector, alert=False) for story in stories]
    assert sum(_count(story, detector, alert=True) for story in stories) >= 3
    assert sum(silent) >= 5
