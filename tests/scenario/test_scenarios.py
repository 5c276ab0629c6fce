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
Each harmless explanation of a detector ends a suspicion alone in one story, or, where it is only a doubt, keeps a finding from being an
alert; of an alert of another story it is excluded.

The whole pipeline runs in memory: bytes in, canonical bodies out.  Each story is told in order and in a shuffled order over four
partitions, and must come out the same.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import yaml

from pipeline.detect.detector import registry, witnessed
from pipeline.detect.doubts import DOUBTS, SETTLED
from pipeline.model.finding import Checked, Explanation
from pipeline.model.outcome import EventRow, Record
from pipeline.model.source import Source
from pipeline.runtime.local import LocalRuntime, Results
from tests import build
from tests.scenario.lines import TOPICS, Line, Site, ship, what

FOLDER = Path(__file__).parent
STORIES = sorted(FOLDER.glob("*.yaml"))
HUM_SECONDS = 300
HUM_BEFORE, HUM_AFTER = 4_200, 7_200
SHUFFLE_SECONDS = 60
# What explanations acquit before a detector asks, since the stages open no case of it or the detector does not look at it: the story, and
# whom its `no_alert` tells of.
LEFT_OUT = {
    ("p01_foreign_kill", "launcher_cleanup"): ("p01_explained", "9"),
    ("p09_injected_delay", "written_with_leave"): ("p09_slow_for_other_reasons", "11"),
    ("p10_convergence_sabotage", "written_with_leave"): ("p10_ordinary_losses", "11"),
    ("p13_queue_flooding", "service_account"): ("p13_explained", "2000"),
    ("p14_node_degraded", "by_system"): ("p14_slow_for_other_reasons", "gpu-003"),
    ("p15_slow_campaign", "written_with_leave"): ("p15_ordinary_failures_of_large_runs", "11"),
    ("p15_slow_campaign", "by_chance"): ("p15_ordinary_failures_of_large_runs", "41"),
    ("p16_reads_diagnoses", "service_or_daemon"): ("p16_explained", "5801"),
    ("p17_borrowed_account", "service_account"): ("p17_ordinary_accounts", "svc"),
    ("p18_telemetry_tamper", "by_system"): ("p18_explained", "gpu-001"),
}
KEYS = {"title", "heard", "hosts", "until", "settings", "expect", *TOPICS}
EXPECTED = {"findings", "verdicts", "incidents", "counts", "any_verdicts", "any_findings", "silent", "alone", "no_alert"}
OF_A_LINE = {"at", "line", "host", "source", "file"}
ACQUITS, DOUBTS_IT, EXCLUDED = "acquits", "doubts", "is excluded from an alert"
Shown = set[tuple[str, str, str]]  # (detector, explanation, what it does)
_SHOWN: dict[Path, Shown] = {}


@cache
def story_in(path: Path) -> Any:
    """A story as it stands in its file."""
    text = path.read_text(encoding="utf-8")
    assert not (twice := [*_twice(yaml.compose(text, Loader=yaml.SafeLoader))]), f"{path.name}: lost is what {twice} tell first"
    return checked(yaml.safe_load(text))


def _twice(node: yaml.Node | None) -> Iterator[str]:
    """Keys that stand twice in one mapping, of which YAML's reader keeps the last."""
    if isinstance(node, yaml.MappingNode):
        yield from (key for key, count in Counter(key.value for key, _ in node.value).items() if count > 1)
    for each in node.value if isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) else ():
        for inner in each if isinstance(each, tuple) else (each,):
            yield from _twice(inner)


def checked(story: Any) -> Any:
    """The same; a word that nobody reads is an error, since a misspelt stream would be a story in which nothing happens."""
    assert "expect" in story, "a story that expects nothing tells nothing"
    lines = [told for stream in TOPICS for told in story.get(stream, ()) if "line" in told]
    for given, known in ((story, KEYS), (story["expect"], EXPECTED), *((told, OF_A_LINE) for told in lines)):
        assert given.keys() <= known, f"not known: {sorted(given.keys() - known)}; there are {sorted(known)}"
    named = {each for key in ("silent", "alone", "no_alert") for each in story["expect"].get(key, ())}
    for names, known in ((named, {each.meta.id for each in registry()}), ({*story.get("heard", ())}, {*map(str, Source)})):
        assert names <= known, f"not known: {sorted(names - known)}"
    return story


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


def run_of(path: Path) -> Results:
    """A story in order; what its explanations did is kept."""
    story, shown = story_in(path), _SHOWN.setdefault(path, set())

    def look(_: Any, __: Any, answers: Sequence[Explanation]) -> None:
        if len(confirmed := [each.name for each in answers if each.answer is Checked.CONFIRMED]) == 1:
            shown.update((detector, confirmed[0], ACQUITS) for detector in _asking([each.name for each in answers]))

    with witnessed(look):
        results = run(list(ship(lines_of(story))), 1, 20, settings_of(story))
    for body in map(orjson.loads, results.canonical_findings().values()):
        for item in body["checklist"]:
            if item["answer"] == Checked.NOT_CHECKED and (not body["alert"] or item["name"] not in _required(body["detector"])):
                shown.add((body["detector"], item["name"], DOUBTS_IT))
            if item["answer"] == Checked.EXCLUDED and body["alert"]:
                shown.add((body["detector"], item["name"], EXCLUDED))
    return results


def _asking(names: Sequence[str]) -> list[str]:
    """The detectors whose checklist this is, or else a part of whose it is."""
    asked = {each.meta.id: [explain.__name__ for explain in each.meta.benign] for each in registry()}
    whole = [detector for detector, every in asked.items() if every == names]
    return whole or [detector for detector, every in asked.items() if set(names) <= set(every)]


@cache
def _required(detector: str) -> tuple[str, ...]:
    return next(each.meta.required for each in registry() if each.meta.id == detector)


def _count(story: Mapping[str, Any], detector: str, *, alert: bool) -> int:
    """How many findings of a detector, alerts or below the gate, a story expects."""
    return sum(each["detector"] == detector and each.get("alert") is alert for each in story["expect"].get("findings", ()))


@pytest.mark.parametrize(
    "misspelt",
    [
        {"acess": []},
        {"heard": ["kernl"]},
        {"expect": {"finding": []}},
        {"expect": {"silent": ["p01_forein_kill"]}},
        {"expect": {"no_alert": {"p01_forein_kill": {}}}},
        {"access": [{"at": 0, "line": "", "hots": "gpu-001"}]},
    ],
)
def test_a_misspelt_word_of_a_story_is_an_error(misspelt: dict[str, Any]) -> None:
    """Else a silent story would pass whatever is found."""
    with pytest.raises(AssertionError, match="not known"):
        checked({"title": "", "expect": {}} | misspelt)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    """What is expected is found, and nothing else; in any order, over any number of partitions."""
    story, results = story_in(path), run_of(path)
    records, expect = list(ship(lines_of(story))), story["expect"]
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
        about, told = set(map(str, cases)), _words(story)
        told |= {f"llm/{word}" for word in told}  # of Kubernetes, whose words in `lines.Site` have one namespace
        assert about <= told, f"{detector}: the story does not tell of {about - told}"
        assert about.isdisjoint(name for body in alerts for name in _names(body))
    stored = {row.event_id for row in results.rows if isinstance(row, EventRow)} | {""}
    for body in bodies["findings"]:
        assert {each["event_id"] for each in body["evidence"]} <= stored
        assert {each["by"] for each in body["checklist"]} <= stored, "an explanation names a record that nobody can look up"
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


@pytest.mark.parametrize("silent", [False, True])
def test_a_cancel_is_final_without_accounting_and_says_that_it_was_silent(silent: bool) -> None:
    """P03 asks it by whose request a job ended, and waits for none that never speaks."""
    story = story_in(FOLDER / "foreign_cancel.yaml")
    results = run(list(ship(line for line in lines_of(story) if not (silent and line.source == "sacct"))), 1, 20, settings_of(story))
    (found,) = results.findings.values()
    assert (found["status"], found["alert"]) == ("final", True)
    assert ("sacct" in results.unheard[str(found["id"])]) is silent


@pytest.mark.parametrize("detector", [each.meta.id for each in registry()])
def test_each_pattern_has_its_stories(detector: str) -> None:
    """Three that fire and five that do not, told in YAML; without any the test above would pass, too."""
    stories = [story_in(path) for path in STORIES]
    silent = [len(story["expect"].get("no_alert", {}).get(detector, ())) + _count(story, detector, alert=False) for story in stories]
    assert sum(_count(story, detector, alert=True) for story in stories) >= 3
    assert sum(silent) >= 5


@pytest.mark.parametrize("detector", [each.meta.id for each in registry()])
def test_each_explanation_has_its_stories(detector: str) -> None:
    """One where it ends a suspicion, or keeps a finding from being an alert, and one where it does not."""
    for path in STORIES:
        if path not in _SHOWN:
            run_of(path)
    shown = set().union(*_SHOWN.values())
    assert LEFT_OUT.keys() >= SETTLED
    asked = [explain.__name__ for each in registry() if each.meta.id == detector for explain in each.meta.benign]
    for name in asked:
        assert (detector, name, EXCLUDED) in shown, f"{name} is excluded from no alert"
        if (detector, name) in LEFT_OUT:
            story, about = LEFT_OUT[detector, name]
            assert about in story_in(FOLDER / f"{story}.yaml")["expect"]["no_alert"][detector]
        else:
            does = DOUBTS_IT if name in DOUBTS else ACQUITS
            assert (detector, name, does) in shown, f"no story in which {name} {does}"
