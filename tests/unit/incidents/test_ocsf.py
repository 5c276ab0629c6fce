"""Values of the topic: what the stage writes is what the schema and the examples show."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.incidents.step import step
from pipeline.model.facts import VOID, Fact
from pipeline.model.ids import rank
from pipeline.model.outcome import Publish, Record, Row
from pipeline.settings import Settings, schemas_folder
from pipeline.sink import rows
from pipeline.sink.step import build_state as build_sink
from pipeline.sink.step import step as sink_step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.unit.incidents.campaign import cancel, examined, kill
from tests.unit.incidents.test_step import CASE, STORY, fact, fresh

SCHEMA = Draft202012Validator(json.loads((schemas_folder() / "events" / "trainwatch.incidents.v1.schema.json").read_text()))


def published() -> list[Publish]:
    """Named, withheld, merged, and taken back; with a loss and without; of a few findings and of many."""
    state, found = fresh(loss={"prices": [{"from": "2026-01-01", "currency": "CNY", "gpu_hour": [12, 20, 50]}]}), []
    killed = examined("1", 0, verdict="interference", state="FAILED", nodes=("gpu-001",), gpus=8)
    batches = [[fact(STORY[1])], [*map(fact, STORY), fact(killed), fact(examined("71", 6, verdict="unexplained", missing=("auditd",)))]]
    batches += [[fact(kill(100, "9", ""))], [Fact(CASE, kill(100, "9", "").id, rank(1, 2), VOID)]]
    batches.append([fact(cancel(150 + number / 100, f"many-{number}", "u077")) for number in range(220)])
    for batch in batches:
        found += [out for out in step(state, batch, build.now(until=60 * build.DAY))[1] if isinstance(out, Publish)]
    return found


@pytest.mark.parametrize("out", published(), ids=lambda out: str(out.id))
def test_values_follow_the_schema(out: Publish) -> None:
    """In every state of an incident."""
    SCHEMA.validate(json.loads(out.value))


@pytest.mark.parametrize("out", published(), ids=lambda out: str(out.id))
def test_values_become_rows(out: Publish) -> None:
    """One of the incident, one per finding, one per hypothesis, one per line of loss; all fit into their columns."""
    record = Record(topic="trainwatch.incidents.v1", partition=0, offset=7, timestamp=0, value=out.value)
    made: list[Any] = sink_step(build_sink(Settings(), Cases()), [record], NOTHING)[1]
    assert all(isinstance(each, Row) for each in made)
    body = json.loads(out.value)["unmapped"]["trainwatch"]["canonical"]
    grouped = rows.by_table(made)
    assert [len(grouped.get(name, [])) for name in ("incidents", "incident_findings", "attribution", "loss_lines")] == [
        1,
        len(body["members"]) + len(body["others"]),
        len(body["attribution"]["hypotheses"]),
        len(body["loss"]["lines"]),
    ]
    assert len({each.index for each in made}) == len(made)
    for name, block in grouped.items():
        assert rows.refused(rows.TABLES[name], block) == []


def test_activities_tell_its_life() -> None:
    """Created, updated or closed, as OCSF counts them."""
    activities = [json.loads(out.value)["activity_name"] for out in published()]
    assert activities == ["Create", "Create", "Close", "Create", "Close", "Create"]
