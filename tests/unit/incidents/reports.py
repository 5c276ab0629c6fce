"""A report with hostile content in every text that a log author can reach."""

from typing import Any

import msgspec
import orjson

from pipeline.incidents.report import Entry, Report
from pipeline.incidents.step import step
from pipeline.model.facts import Fact
from pipeline.model.finding import Explanation, Finding, canonical
from pipeline.model.incident import NONE, Derived, Incident, Input, Loss, LossLine, Priced
from pipeline.model.outcome import Publish
from pipeline.model.told import Attempt
from tests import build
from tests.unit.incidents.campaign import CHECKED, examined, marks, record, tamper
from tests.unit.incidents.test_step import STORY, fact, fresh

EVIL = "<script>alert(1)</script>\"'><img src=http://x.example/y onerror=z>&\u202eexe.txt\x1b[2J"


def built(*told: Fact) -> Incident:
    """The incident of these facts, as the topic has it."""
    outcomes = step(fresh(), told, marks(60))[1]
    (value,) = [orjson.loads(out.value) for out in outcomes if isinstance(out, Publish)]
    body: Incident = msgspec.json.decode(orjson.dumps(value["unmapped"]["trainwatch"]["canonical"]), type=Incident)
    return body


def report(members: list[Finding] | None = None, **changes: Any) -> Report:
    """Of the usual story."""
    findings = STORY if members is None else members
    value = Report(
        incident=built(*map(fact, findings), fact(examined("70", 5)), fact(examined("71", 6, verdict="unexplained", missing=("auditd",)))),
        revision=2,
        findings=tuple(msgspec.json.decode(canonical(each), type=Finding) for each in findings),
        lines={},
        journal=(Entry(at=build.T0, operator="op", action="reply", value="u099", text="I was on leave."),),
    )
    return msgspec.structs.replace(value, **changes)


def hostile() -> Report:
    """Whatever a log author may write is an attack on whoever reads the report."""
    path = f"/ckpt/{EVIL}"
    cited = (record("written", "w", build.T0, summary=EVIL), record("loaded", "l", build.T0 + 1, EVIL))
    checklist = (*CHECKED, Explanation(EVIL, CHECKED[0].answer, EVIL, EVIL, (EVIL,)))
    members = [tamper(0, EVIL, EVIL, path, owner=EVIL, summary=EVIL, evidence=cited, checklist=checklist, gate=EVIL, actor_withheld=EVIL)]
    entry = Entry(at=build.T0, operator=EVIL, action=EVIL, value=EVIL, text=EVIL)
    made = report(members, journal=(entry,))
    line = LossLine(
        ledger=EVIL, kind=EVIL, attempt=Attempt(EVIL, EVIL, 0, 0), gpu_hours=NONE, money=NONE, currency=EVIL, method=EVIL, formula=EVIL,
        note=EVIL, evidence=(EVIL,), gpus=8, nodes=1,
        inputs=(Input(reading=EVIL, start=0, end=1, share=1.0, elsewhere=0.0, prices=(Priced(hours=1.0, per_hour=1.0, formula=EVIL),)),),
    )  # fmt: skip
    loss = Loss(currency=EVIL, lines=(line,), unknown=(EVIL,))
    derived = Derived(attempt=EVIL, saved=0, event_id=EVIL, after=EVIL, loads=1, loaded_by=(EVIL,), path=EVIL, saved_by=(EVIL,))
    counts = ((EVIL, 9, 9),)
    incident = msgspec.structs.replace(made.incident, loss=loss, derived=(derived,), detectors=counts, findings=9)
    return msgspec.structs.replace(made, incident=incident, lines={each.event_id: EVIL for each in incident.timeline})
