"""What outsiders build on: compatibility of schemas, the AsyncAPI description, the form of the cookbook and of the examples."""

import ast
import copy
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from deploy import asyncapi, check_schemas, refusals
from pipeline.settings import schemas_folder
from tests.conftest import ROOT

SCHEMAS = schemas_folder()
FINDINGS = "events/trainwatch.findings.v1.schema.json"
PROBE = "events/trainwatch_probe.v1.schema.json"
LABELS = "events/trainwatch.labels.v1.schema.json"
TOPIC = "topics/trainwatch.findings.v1.yaml"
FACTS = "topics/trainwatch.facts.job.v1.yaml"
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.py"))


# --- compatibility ----------------------------------------------------------------------------------------------------------------


def test_nothing_that_was_released_breaks() -> None:
    """When this fails: leave the old field as it is and add another, or describe the topic of the next version."""
    assert check_schemas.compare(check_schemas.read(SCHEMAS / check_schemas.RELEASED), check_schemas.read(SCHEMAS)) == []


def test_whatever_is_promised_is_protected() -> None:
    """A new topic or schema that others read or write is kept as released from the day on which it comes."""
    assert check_schemas.read(SCHEMAS).keys() == check_schemas.read(SCHEMAS / check_schemas.RELEASED).keys()


def changed(file: str, path: str, change: Any, *, drop: bool = False) -> list[str]:
    """What a change at `path` (keys joined by slashes) is said to break."""
    before = check_schemas.read(SCHEMAS)
    after = copy.deepcopy(before)
    node = after[file]
    *steps, last = path.split("/")
    for step in steps:
        node = node[int(step) if isinstance(node, list) else step]
    if drop and isinstance(node[last], list):
        node[last].remove(change)
    elif drop:
        del node[last][change]
    elif isinstance(node.get(last), list) and not isinstance(change, list):
        node[last].append(change)
    elif isinstance(node.get(last), dict) and isinstance(change, dict):
        node[last].update(change)
    else:
        node[last] = change
    return [f"{breach.where}: {breach.what}" for breach in check_schemas.compare(before, after)]


CANONICAL = "properties/unmapped/properties/trainwatch/properties/canonical"
BREAKING = [
    pytest.param(FINDINGS, "properties", "message", True, "$.message: is gone", id="a field goes"),
    pytest.param(FINDINGS, "required", "message", True, "$.message: is no longer promised", id="a promise goes"),
    pytest.param(FINDINGS, f"{CANONICAL}/properties/severity/enum", None, None, "values ['low'] are gone", id="a value goes"),
    pytest.param(
        FINDINGS, f"{CANONICAL}/properties/status", {"enum": ["final"]}, False, "values ['provisional', 'retracted']", id="narrower"
    ),
    pytest.param(FINDINGS, "properties/message/type", "integer", False, "$.message: type was string, is integer", id="another type"),
    pytest.param(FINDINGS, "properties/message/type", ["string", "null"], False, "$.message: type was string", id="null appears"),
    pytest.param(FINDINGS, "properties/class_uid/const", 2005, False, "$.class_uid: const was 2004, is 2005", id="another constant"),
    pytest.param(FINDINGS, "properties/confidence_score/maximum", 1000, False, "maximum was 100, is 1000", id="wider bounds"),
    pytest.param(FINDINGS, "properties/resources/maxItems", 2, False, "$.resources: maxItems was 1, is 2", id="longer"),
    pytest.param(FINDINGS, "$defs/evidence/properties/sha256/pattern", ".*", False, "pattern was", id="pattern, behind a reference"),
    pytest.param(FINDINGS, "$defs/attempt/prefixItems", [], False, "prefixItems had 4 parts", id="shorter tuple"),
    pytest.param(TOPIC, "key", "id of the finding", False, "key: was", id="another key"),
    pytest.param(TOPIC, "cleanup", "compact", False, "cleanup: was 'delete', is 'compact'", id="another clean-up"),
    pytest.param(TOPIC, "headers", "ce_id", True, "headers.ce_id: is gone", id="a header goes"),
    pytest.param(TOPIC, "retention_days", 7, False, "retention_days: was 90, is 7", id="shorter retention"),
    pytest.param(TOPIC, "versions", "v1", True, "versions.v1: is gone", id="a version goes"),
    pytest.param(LABELS, "required", "because", False, "$.because: is required now", id="more is asked of a label"),
    pytest.param(LABELS, "properties/label/enum", "benign", True, "values ['benign'] are gone", id="a label goes"),
    pytest.param(LABELS, "properties/note/maxLength", 100, False, "maxLength was 2000, is 100", id="shorter notes"),
]


@pytest.mark.parametrize(("file", "path", "change", "drop", "said"), BREAKING)
def test_what_breaks_a_consumer_is_named(file: str, path: str, change: Any, drop: bool | None, said: str) -> None:
    """With the place and what it was."""
    found = changed(file, path, "low", drop=True) if drop is None else changed(file, path, change, drop=drop)
    assert any(said in line for line in found), found


ADDITIVE = [
    pytest.param(FINDINGS, "properties", {"more": {"type": "string"}}, id="a field comes"),
    pytest.param(FINDINGS, "required", "more", id="something more is promised"),
    pytest.param(FINDINGS, f"{CANONICAL}/properties/severity/enum", "grave", id="a value comes"),
    pytest.param(FINDINGS, "properties/message/description", "in other words", id="words change"),
    pytest.param(FINDINGS, "properties/confidence_score/maximum", 90, id="narrower bounds of what we write"),
    pytest.param(TOPIC, "headers", {"more": "text"}, id="a header comes"),
    pytest.param(TOPIC, "retention_days", 900, id="longer retention"),
    pytest.param(TOPIC, "producers", "incidents", id="another producer"),
    pytest.param(FACTS, "key", "anything", id="facts are nobody else's"),
]


@pytest.mark.parametrize(("file", "path", "change"), ADDITIVE)
def test_what_adds_breaks_nobody(file: str, path: str, change: Any) -> None:
    """Consumers pass over what they do not know."""
    *steps, last = path.split("/")
    if last == "enum":  # the list itself
        assert changed(file, "/".join(steps), {"enum": ["low", "medium", "high", "critical", change]}) == []
    else:
        assert changed(file, path, change) == []


def probe(**changes: Any) -> list[str]:
    """What a change of a small schema that others write is said to break."""
    before = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"enum": ["x", "y"]}}}
    after = {**copy.deepcopy(before), **changes}
    return [str(each) for each in check_schemas.compare({PROBE: before}, {PROBE: after})]


@pytest.mark.parametrize(
    ("changes", "breaks"),
    [
        ({"required": ["a", "b"]}, True),
        ({"required": []}, False),
        ({"additionalProperties": False}, True),
        ({"properties": {"a": {"type": "integer", "minimum": 1}, "b": {"enum": ["x", "y"]}}}, True),
        ({"properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}}}, False),
        ({"properties": {"a": {"type": "integer", "minimum": 0}, "b": {"enum": ["x"]}}}, True),
        ({"properties": {"a": {"type": "integer", "minimum": 0}, "b": {"enum": ["x", "y", "z"]}}}, False),
    ],
)
def test_what_others_write_is_judged_the_other_way_round(changes: dict[str, Any], breaks: bool) -> None:
    """A producer breaks where more is asked of it."""
    assert bool(probe(**changes)) is breaks


def test_a_file_that_goes_is_named() -> None:
    """Schema or topic."""
    before = check_schemas.read(SCHEMAS)
    after = {name: content for name, content in before.items() if name not in (FINDINGS, TOPIC)}
    assert [str(each) for each in check_schemas.compare(before, after)] == [
        "trainwatch.findings.v1.schema.json: file: is gone",
        "trainwatch.findings.v1.yaml: file: is gone",
    ]


def test_a_schema_that_holds_itself_ends() -> None:
    """References may go round."""
    tree = {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"below": {"$ref": "#/$defs/tree"}}}}}
    assert check_schemas.compare({FINDINGS: tree}, {FINDINGS: tree}) == []


def test_the_command_fails_with_the_list(tmp_path: Path) -> None:
    """Exit 1, and what to do; then 0, and `--release` keeps the new state."""
    kept = tmp_path / "schemas"
    for name in check_schemas.read(SCHEMAS):
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SCHEMAS / name, kept / name)
    check_schemas.release(kept)
    broken = yaml.safe_load((kept / TOPIC).read_text())
    (kept / TOPIC).write_text(yaml.safe_dump({**broken, "key": "another"}))
    done = CliRunner().invoke(check_schemas.main, ["--folder", str(kept), "--release"])
    assert done.exit_code == 1
    assert "trainwatch.findings.v1.yaml: key: was" in done.stdout
    assert "what to do" in done.stderr
    (kept / TOPIC).write_text(yaml.safe_dump({**broken, "retention_days": 120}))
    assert CliRunner().invoke(check_schemas.main, ["--folder", str(kept), "--release"]).exit_code == 0
    assert yaml.safe_load((kept / check_schemas.RELEASED / TOPIC).read_text())["retention_days"] == 120


# --- AsyncAPI ---------------------------------------------------------------------------------------------------------------------


def test_the_description_is_what_the_schemas_give() -> None:
    """Renew it with `.venv/bin/python -m deploy.asyncapi`."""
    assert (SCHEMAS / "asyncapi.yaml").read_text(encoding="utf-8") == asyncapi.render()


def test_the_errors_of_invalid_examples_are_told_as_they_are_given() -> None:
    """Renew it with `.venv/bin/python -m deploy.refusals`."""
    assert (SCHEMAS / "examples" / "REFUSED.md").read_text(encoding="utf-8") == refusals.render()


def test_the_description_holds_together() -> None:
    """Every reference leads somewhere, every operation has its channel, and topics of our own that nobody else may read are left out."""
    page = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text(encoding="utf-8"))
    assert page["asyncapi"] == "3.0.0"
    addresses = {channel["address"] for channel in page["channels"].values()}
    assert {"logs.access", "trainwatch.findings.v1", "trainwatch.incidents.v1", "trainwatch.dead-letter.v1"} <= addresses
    assert not any("facts" in address or "state" in address for address in addresses)
    for reference in references(page):
        if reference.startswith("#/"):
            node: Any = page
            for step in reference.removeprefix("#/").split("/"):
                node = node[step]
        else:
            assert (SCHEMAS / reference).is_file(), reference
    assert {each["action"] for each in page["operations"].values()} == {"send", "receive"}


def references(node: Any) -> list[str]:
    """All of them."""
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if not isinstance(node, dict):
        return []
    here = [node["$ref"]] if "$ref" in node else []
    return here + [found for item in node.values() for found in references(item)]


# --- cookbook and examples --------------------------------------------------------------------------------------------------------


def test_every_question_of_the_cookbook_says_why_and_what_it_costs() -> None:
    """Numbered without a gap, each ending as a question."""
    page = (ROOT / "deploy" / "sql" / "cookbook.sql").read_text(encoding="utf-8")
    heads = re.findall(
        r"^-- (\d+)\. (.+)\n-- why: .+\n-- cost: (?:key|filter|period|small)\b.+rows: (?:yes|may be none)\n", page, re.MULTILINE
    )
    assert [int(number) for number, _ in heads] == list(range(1, len(heads) + 1))
    assert len(heads) == len(re.findall(r"^-- \d+\. ", page, re.MULTILINE)) == page.count(";\n") >= 20
    assert all(question.endswith("?") for _, question in heads)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_short_and_needs_kafka_python_alone(path: Path) -> None:
    """A reader copies it: nothing of ours is imported, and it says how it is called."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - {"json", "os", "sys", "collections", "urllib", "uuid"} == {"kafka"}
    assert f"python {path.name} " in (ast.get_docstring(tree) or "")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 45
