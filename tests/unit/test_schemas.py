"""schemas/: every topic is described, every example is decoded, and what code writes is what the schemas say."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from deploy import asyncapi
from pipeline import topology
from pipeline.errors import ErrorCode, RejectedRecord
from pipeline.evidence.verify import Ring, check_chain
from pipeline.loss.claims import KINDS
from pipeline.model.finding import (
    Checked,
    Confidence,
    Enriched,
    Evidence,
    Explanation,
    Finding,
    Retraction,
    Severity,
    Status,
    Transport,
    Verdict,
)
from pipeline.model.incident import Incident, Input, Loss, LossLine, Priced
from pipeline.model.outcome import Outcome, Record, Rejected, Row
from pipeline.model.source import Source
from pipeline.runtime import admin, labelling, notices
from pipeline.runtime.admin import RETENTION_DAYS
from pipeline.runtime.dead_letter import dead_letter
from pipeline.settings import Settings, schemas_folder
from pipeline.sink.step import build_state, step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from pipeline.topology import build_topology
from tests.unit.evidence.build import RING
from tests.unit.sink.build import T0, enriched, finding, transport, value_of, verdict

SCHEMAS = schemas_folder()
TOPOLOGY = build_topology(Settings())
PUBLIC = ("trainwatch.enriched", "trainwatch.verdicts", "trainwatch.findings", "trainwatch.incidents")
DEAD_LETTER, LABELS, EVIDENCE = "trainwatch.dead-letter", "trainwatch.labels", "trainwatch.evidence"
BODIES: dict[str, type[Finding | Verdict | Enriched | Incident]] = {
    "trainwatch.enriched": Enriched,
    "trainwatch.verdicts": Verdict,
    "trainwatch.findings": Finding,
    "trainwatch.incidents": Incident,
}
OCSF = ("trainwatch.findings", "trainwatch.incidents")  # our words travel inside a class of OCSF
NEVER_WRITTEN = {"suspect"}  # who is suspected without being named


def schema(topic: str) -> dict[str, Any]:
    """The schema of a topic's first version."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / "events" / f"{topic}.v1.schema.json").read_text())
    return loaded


def validator(topic: str) -> Draft202012Validator:
    """Its validator."""
    return Draft202012Validator(schema(topic))


def examples(topic: str, *, invalid: bool = False) -> list[Path]:
    """Files of a topic; `invalid/<code>.<case>.json` name the code expected."""
    folder = SCHEMAS / "examples" / topic / "v1"
    return sorted((folder / "invalid" if invalid else folder).glob("*.json"))


def cases(topics: tuple[str, ...], *, invalid: bool = False) -> list[Any]:
    """Parameters: topic and file."""
    return [pytest.param(topic, path, id=f"{topic}-{path.stem}") for topic in topics for path in examples(topic, invalid=invalid)]


def run(topic: str, value: bytes) -> list[Outcome]:
    """What the sink stage makes of a value."""
    record = Record(topic=f"{topic}.v1", partition=0, offset=7, timestamp=T0, value=value)
    return step(build_state(Settings(), Cases()), [record], NOTHING)[1]


# --- topics -----------------------------------------------------------------------------------------------------------------------


def described() -> dict[str, dict[str, Any]]:
    """Topic -> its description."""
    loaded = [yaml.safe_load(path.read_text()) for path in sorted((SCHEMAS / "topics").glob("*.yaml"))]
    return {entry["topic"]: entry for entry in loaded}


def test_every_topic_of_the_map_is_described() -> None:
    """Inputs, facts, public topics and the dead letter, under their names; state topics once for all."""
    consumed = {topic for stage in TOPOLOGY.stages for topic in stage.reads}
    written = {TOPOLOGY.public_topic(content) for content in ("dead-letter", "evidence", "labels")}
    assert described().keys() == consumed | written | {"trainwatch.state.<input>.v1"}


def test_descriptions_name_the_stages_of_the_map() -> None:
    """Consumers and producers are those of topology.py."""
    for stage in TOPOLOGY.stages:
        for topic in stage.reads:
            assert stage.name in described()[topic]["consumers"]
    for topic, entry in described().items():
        if entry["role"] == "facts":
            assert entry["producers"] == [stage.name for stage in TOPOLOGY.stages if topic in map(TOPOLOGY.facts_topic, stage.tells)]


def test_public_topics_name_who_writes_and_reads_them() -> None:
    """Whoever the map of topology.py lets say it; every stage may refuse a record; the notifier reads what it tells."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in str(topology.__doc__).splitlines()]
    says = {row[0]: row[-1] for row in rows if row[0] in {stage.name for stage in TOPOLOGY.stages}}
    assert says.keys() == {stage.name for stage in TOPOLOGY.stages}
    for content in topology.PUBLIC:
        entry = described()[TOPOLOGY.public_topic(content)]
        assert entry["producers"] == [stage for stage, words in says.items() if content in words]
        assert ("notify" in entry["consumers"]) == (content in notices.KINDS)
        assert entry["headers"]["ce_source"] in {f"/<group>/{stage}" for stage in (*entry["producers"], "<stage>")}
    assert described()[TOPOLOGY.public_topic("dead-letter")]["producers"] == [*says, "operators"]


def test_asyncapi_shows_every_topic_that_others_write_or_read() -> None:
    """Inputs and public topics, incidents and evidence among them; nothing else is promised."""
    promised = {topic.name for topic in admin.plan(Settings().kafka, TOPOLOGY, {}) if topic.role in {*asyncapi.SHOWN_ROLES, admin.LABELS}}
    assert {channel["address"] for channel in asyncapi.document()["channels"].values()} == promised


@pytest.mark.parametrize("content", sorted(RETENTION_DAYS))
def test_described_retention_is_what_topics_are_made_with(content: str) -> None:
    """Consumers read the description to know how far they may fall behind."""
    assert described()[TOPOLOGY.public_topic(content)]["retention_days"] == RETENTION_DAYS[content]


@pytest.mark.parametrize("path", sorted((SCHEMAS / "topics").glob("*.yaml")), ids=lambda path: str(path.stem))
def test_a_description_is_complete(path: Path) -> None:
    """What house style asks for, and schemas that exist."""
    entry = yaml.safe_load(path.read_text())
    assert {"topic", "description", "role", "producers", "consumers", "key", "value", "partitions", "cleanup", "versions"} <= entry.keys()
    for named in (entry["value"], entry.get("headers")):
        if isinstance(named, str) and named.endswith(".schema.json"):
            assert (SCHEMAS / named).is_file()


# --- schemas ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((SCHEMAS / "events").glob("*.json")), ids=lambda path: str(path.stem))
def test_a_schema_is_a_schema(path: Path) -> None:
    """Draft 2020-12, with an id that is its file name."""
    loaded = json.loads(path.read_text())
    Draft202012Validator.check_schema(loaded)
    assert loaded["$schema"].endswith("2020-12/schema")
    assert loaded["$id"] == path.name


def properties(node: Any) -> list[tuple[str, dict[str, Any]]]:
    """Every (name, schema) below a node."""
    if isinstance(node, list):
        return [pair for item in node for pair in properties(item)]
    if not isinstance(node, dict):
        return []
    here = list(node["properties"].items()) if isinstance(node.get("properties"), dict) else []
    return here + [pair for value in node.values() for pair in properties(value)]


@pytest.mark.parametrize("topic", PUBLIC)
def test_times_say_their_unit(topic: str) -> None:
    """Every integer that is a time says milliseconds and UTC in its description."""
    times = [(name, found) for name, found in properties(schema(topic)) if name.endswith(("time", "_at")) or name == "end"]
    assert times
    for name, found in times:
        assert "Milliseconds since 1970-01-01 UTC" in found["description"], name


def canonical_schema(topic: str) -> dict[str, Any]:
    """The part that describes the canonical body."""
    found = schema(topic)
    if topic in OCSF:
        found = found["properties"]["unmapped"]["properties"]["trainwatch"]
    body: dict[str, Any] = found["properties"]["canonical"]
    return body


@pytest.mark.parametrize("topic", PUBLIC)
def test_schema_and_type_have_the_same_fields(topic: str) -> None:
    """A field that is added to the type is added to the schema, and is required there because it is always written."""
    fields = {"id", *(field.encode_name for field in msgspec.structs.fields(BODIES[topic]))} - NEVER_WRITTEN
    body = canonical_schema(topic)
    assert body["properties"].keys() == fields
    assert set(body["required"]) == fields


def test_parts_of_bodies_have_the_same_fields() -> None:
    """Evidence, explanations, confidence and the transport block, of a retraction the longest, as well."""
    found = schema("trainwatch.findings")
    parts: dict[type[msgspec.Struct], dict[str, Any]] = {
        Evidence: found["$defs"]["evidence"],
        Explanation: found["$defs"]["explanation"],
        Confidence: canonical_schema("trainwatch.findings")["properties"]["confidence"],
        Retraction: found["properties"]["unmapped"]["properties"]["trainwatch"]["properties"]["transport"],
    }
    for kind, part in parts.items():
        fields = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert part["properties"].keys() == fields - ({"host"} if kind is Evidence else set()), kind  # which is for incidents alone


def test_parts_of_a_loss_have_the_same_fields() -> None:
    """Of an incident; its lines as well, and the kinds that claims have."""
    parts = schema("trainwatch.incidents")["$defs"]
    for kind, name in ((Loss, "loss"), (LossLine, "loss_line"), (Input, "input"), (Priced, "priced")):
        fields = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert parts[name]["properties"].keys() == fields
        assert set(parts[name]["required"]) == fields
    assert set(parts["loss_line"]["properties"]["kind"]["enum"]) == {*KINDS, "staff", "delay", "others"}


def test_closed_sets_are_the_same() -> None:
    """A value that is added to an enumeration is added to the schema."""
    body = canonical_schema("trainwatch.findings")["properties"]
    explanation = schema("trainwatch.findings")["$defs"]["explanation"]["properties"]
    assert body["status"]["enum"] == [item.value for item in Status]
    assert body["severity"]["enum"] == [item.value for item in Severity]
    assert explanation["answer"]["enum"] == [item.value for item in Checked]
    assert body["sources"]["items"]["enum"] == [item.value for item in Source]


# --- examples ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", [*PUBLIC, DEAD_LETTER, LABELS, EVIDENCE])
def test_every_public_topic_has_examples(topic: str) -> None:
    """Good ones and bad ones."""
    assert examples(topic)
    assert examples(topic, invalid=True)


@pytest.mark.parametrize(("topic", "path"), cases((*PUBLIC, DEAD_LETTER, LABELS, EVIDENCE)))
def test_an_example_follows_its_schema(topic: str, path: Path) -> None:
    """What is shown to consumers is what they are promised."""
    validator(topic).validate(json.loads(path.read_text()))


@pytest.mark.parametrize(("topic", "path"), cases(PUBLIC))
def test_an_example_becomes_rows(topic: str, path: Path) -> None:
    """The sink takes it."""
    outcomes = run(topic, path.read_bytes())
    assert outcomes
    assert all(isinstance(outcome, Row) for outcome in outcomes)


@pytest.mark.parametrize(("topic", "path"), cases(PUBLIC, invalid=True))
def test_an_invalid_example_is_refused_with_its_code(topic: str, path: Path) -> None:
    """The code stands in the file name."""
    (outcome,) = run(topic, path.read_bytes())
    assert isinstance(outcome, Rejected)
    assert outcome.code is ErrorCode(path.name.split(".", maxsplit=1)[0])


@pytest.mark.parametrize("path", examples(LABELS), ids=lambda path: str(path.stem))
def test_an_example_of_a_label_is_noted(path: Path) -> None:
    """`trainwatch label --from-topic` takes it."""
    assert labelling.read(path.read_bytes()).account


@pytest.mark.parametrize("path", examples(LABELS, invalid=True), ids=lambda path: str(path.stem))
def test_an_invalid_label_is_refused_with_its_code(path: Path) -> None:
    """The code stands in the file name."""
    with pytest.raises(RejectedRecord) as refused:
        labelling.read(path.read_bytes())
    assert refused.value.code is ErrorCode(path.name.split(".", maxsplit=1)[0])


def problems(path: Path) -> list[str]:
    """What the checker says of an example of a sealed range, whose keys are those of tests/unit/evidence."""
    return [problem.code for problem in check_chain([json.loads(path.read_text())], Ring(RING))]


@pytest.mark.parametrize("path", examples(EVIDENCE), ids=lambda path: str(path.stem))
def test_an_example_of_a_sealed_range_is_signed(path: Path) -> None:
    """Whoever has the site's public keys can check it."""
    assert problems(path) == []


@pytest.mark.parametrize("path", examples(EVIDENCE, invalid=True), ids=lambda path: str(path.stem))
def test_the_checker_sees_what_is_wrong_with_a_sealed_range(path: Path) -> None:
    """The problem that it names first stands in the file name."""
    assert problems(path)[0] == path.name.split(".", maxsplit=1)[0]


# What a schema cannot see: it takes a hash, a key, or another field.
UNSEEN = ("schema_mismatch.id_of_another_body", "schema_mismatch.unsaid_by_the_schema", "head_wrong", "signature_wrong", "range_wrong")


@pytest.mark.parametrize(("topic", "path"), cases((*PUBLIC, DEAD_LETTER, LABELS, EVIDENCE), invalid=True))
def test_the_schema_refuses_it_too(topic: str, path: Path) -> None:
    """Except what takes more than a schema to see."""
    if path.name.startswith("decode_error"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(path.read_text())
    else:
        assert validator(topic).is_valid(json.loads(path.read_text())) is path.name.startswith(UNSEEN)


# --- what code writes -------------------------------------------------------------------------------------------------------------

FINDINGS = [
    pytest.param(finding(), 1, id="provisional"),
    pytest.param(finding(status=Status.FINAL), 2, id="final"),
    pytest.param(finding(status=Status.RETRACTED), 3, id="retracted"),
    pytest.param(finding(actor="", actor_withheld="one source", alert=False, gate="low"), 1, id="withheld"),
    pytest.param(finding(owner="", evidence=(), checklist=(), attack=(), sources=()), 1, id="bare"),
    *(pytest.param(finding(severity=severity), 1, id=severity.value) for severity in Severity),
    *(pytest.param(finding(confidence=Confidence(score, ())), 1, id=f"score {score}") for score in (0.0, 0.5, 0.8, 1.0)),
]


@pytest.mark.parametrize(("body", "revision"), FINDINGS)
def test_findings_follow_our_schema(body: Finding, revision: int) -> None:
    """Whatever a detector says."""
    validator("trainwatch.findings").validate(json.loads(value_of(body, revision)))


@pytest.mark.shared_data
@pytest.mark.parametrize(("body", "revision"), FINDINGS)
def test_findings_follow_the_full_ocsf_class(body: Finding, revision: int, shared_data: Path) -> None:
    """Other products read them as OCSF 1.5.0, which allows no attribute that it does not know."""
    ocsf_class = json.loads((shared_data / "ocsf" / "detection_finding.schema.json").read_text())
    Draft202012Validator(ocsf_class).validate(json.loads(value_of(body, revision)))


@pytest.mark.parametrize(
    "body", [verdict(), verdict(by=None, gpus=None, owner_uid=None), enriched(), enriched(actor="", host="", attrs={})]
)
def test_verdicts_and_enriched_events_follow_their_schemas(body: Verdict | Enriched) -> None:
    """Optional parts left out included."""
    topic = "trainwatch.verdicts" if isinstance(body, Verdict) else "trainwatch.enriched"
    validator(topic).validate(json.loads(value_of(body)))


@pytest.mark.shared_data
@pytest.mark.parametrize("path", examples("trainwatch.incidents"), ids=lambda path: str(path.stem))
def test_incidents_follow_the_full_ocsf_class(path: Path, shared_data: Path) -> None:
    """The examples are what the stage writes: tests/unit/incidents/test_ocsf.py."""
    ocsf_class = json.loads((shared_data / "ocsf" / "incident_finding.schema.json").read_text())
    Draft202012Validator(ocsf_class).validate(json.loads(path.read_text()))


def test_headers_of_dead_letters_follow_their_schema() -> None:
    """Also those of a record that was refused before, and of one too long to keep."""
    again = (("x-dlq-first-failed-at", b"1"), ("x-dlq-attempts", b"2"), ("traceparent", b"00"))
    for value, headers in ((b"line", ()), (b"line", again), (b"x" * 2_000_000, ())):
        record = Record(topic="logs.access", partition=0, offset=1, timestamp=T0, value=value, headers=headers)
        letter = dead_letter("ingest", record, ErrorCode.UNKNOWN_FORMAT, "reason \u00e4\n")
        validator(DEAD_LETTER).validate({name: content.decode() for name, content in letter.headers})


def test_a_transport_block_may_be_bare() -> None:
    """Only the revision is promised."""
    part = schema("trainwatch.verdicts")["properties"]["transport"]
    for block in (Transport(revision=1), transport()):
        Draft202012Validator(part).validate(msgspec.json.decode(msgspec.json.encode(block)))
