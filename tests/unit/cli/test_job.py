"""What `job explain` prints of what the tables hold."""

import io
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from pipeline.cli import main
from pipeline.cli.job import show

FINDING = {
    "finding_id": "f1",
    "detector": "p03_foreign_cancel",
    "severity": "high",
    "status": "final",
    "summary": "cancelled",
    "actor": "",
    "actor_withheld": "only one independent source: scheduler",
    "confidence": 0.9,
    "alert": True,
    "gate": "",
    "checklist": [],
    "label": "",
    "because": "",
}


def line(number: int) -> dict[str, Any]:
    return {
        "ts": number,
        "what": "event",
        "source": "sacct",
        "kind": "end",
        "host": "",
        "actor": "",
        "relation": "",
        "text": f"line-{number}",
    }


def shown(**found: Any) -> str:
    page = io.StringIO()
    everything = {"verdicts": [], "findings": [], "evidence": [], "timeline": [], "timeline_length": 0, **found}
    show(Console(file=page, width=200, highlight=False), "48660", everything)
    return page.getvalue()


def test_a_cut_timeline_says_so() -> None:
    """And how to see the rest; the last line of a busy job is what one looks for."""
    page = shown(timeline=[line(number) for number in range(40)], timeline_length=1312)
    assert "line-39" in page
    assert "40 of 1,312 rows of the timeline, its end; --all shows the rest" in page


def test_what_is_alike_is_one_line() -> None:
    """A signal to each of forty processes does not push the request to cancel out of sight; signals of other numbers are told apart."""
    sent = [
        {**line(7), "kind": "signal_sent", "text": f"signal={signal} target_pid={pid}"} for pid in range(100, 140) for signal in (15, 18)
    ]
    asked = {**line(6), "kind": "kill_request", "text": "REQUEST_KILL_JOB JobId=48660"}
    page = io.StringIO()
    found = {"verdicts": [], "findings": [], "evidence": [], "timeline": [line(5), asked, *sent], "timeline_length": 82}
    show(Console(file=page, width=200, highlight=False), "48660", found, 3)
    assert page.getvalue().count("40 alike, the first: signal=") == 2
    assert "REQUEST_KILL_JOB" in page.getvalue()
    assert "line-5" not in page.getvalue()
    assert "81 of 82 rows of the timeline" in page.getvalue()


@pytest.mark.parametrize("told", [["path=/data/u017/a.py", "path=/data/u018/a.py"], ["loss: 2.310", "loss: 2.990"], ["gpu-012", "gpu-013"]])
def test_what_differs_in_a_name_or_behind_a_point_is_not_alike(told: list[str]) -> None:
    """People, nodes and losses are what one looks for."""
    page = shown(timeline=[{**line(7), "text": each} for each in told], timeline_length=2)
    assert [each for each in told if each in page] == told


@pytest.mark.parametrize("rows", [0, 3])
def test_a_whole_timeline_says_nothing_of_a_rest(rows: int) -> None:
    """Nor does one that is empty."""
    assert "--all" not in shown(timeline=[line(number) for number in range(rows)], timeline_length=rows)


def test_a_withheld_name_is_explained() -> None:
    """The number beside it is confidence in the act."""
    assert "actor withheld; confidence 0.90 in the act; no name: only one independent source: scheduler" in shown(findings=[FINDING])
    assert "actor u017; confidence 0.90;" in shown(findings=[{**FINDING, "actor": "u017", "actor_withheld": ""}])


def test_what_people_said_of_a_finding_stands_beside_it() -> None:
    """Whoever was named by what proved harmless is not shown without that; the id is what `finding show` takes."""
    assert "finding f1\n" in shown(findings=[FINDING])
    assert "finding f1; labelled benign because admin_ticket" in shown(findings=[{**FINDING, "label": "benign", "because": "admin_ticket"}])


@pytest.mark.parametrize(("alerts", "whole"), [(2, True), (3, False)])
def test_what_people_cleared_of_an_incident_stands_beside_whom_it_names(alerts: int, whole: bool) -> None:
    """At each of its findings and at the loss that it counts: by whom and when, and that the attribution does not weigh it."""
    case = {
        "incident_id": LOSS["incident_id"], "of_job": ["f1"], "dismissed": 2, "findings": 3, "alerts_dismissed": 2, "alerts": alerts,
        "labelled_by": {"u101@ops": 1_772_323_200_000}, "dismissed_by_named": 0, "named": "u099",
    }  # fmt: skip
    page = " ".join(shown(findings=[FINDING], losses=[LOSS], dismissed=[case]).split())
    how = f"2 of 3 findings false or benign, 2 of the {alerts} above the gate (last u101@ops, 2026-03-01 00:00Z)"
    assert page.count(f"incident 5d09ce3d4edb: people labelled {how}") == 2
    assert ("by their word nothing is against anybody" in page) == whole
    assert "does not weigh labels" in page
    assert "people labelled" not in shown(findings=[{**FINDING, "finding_id": "f2"}], dismissed=[case])
    alone = {**case, "dismissed": 0, "alerts_dismissed": 0, "labelled_by": {}, "dismissed_by_named": 2}
    own = " ".join(shown(findings=[FINDING], losses=[LOSS], dismissed=[alone]).split())
    assert own.count("candidates themselves labelled 2 of 3 findings false or benign, which is not counted") == 2
    assert "nothing is against anybody" not in own


def test_all_and_a_number_of_rows_exclude_one_another() -> None:
    """Exit 2, before the database is asked."""
    done = CliRunner().invoke(main, ["job", "explain", "1", "--all", "--timeline", "5"])
    assert done.exit_code == 2
    assert "--timeline" in done.stderr


VERDICT = {
    "attempt": "main/48879/1/2", "owner": "u024", "start_time": 1, "end_time": 2, "state": "COMPLETED", "gpus": 32, "verdict": "benign",
    "cause": "completed", "status": "final", "by_event_id": "", "checklist": [],
}  # fmt: skip
LOSS = {
    "incident_id": "5d09ce3d4edb78b57911184c204c332a", "title": "files altered: 1 finding", "kinds": ["invalid"],
    "low": 0.0, "middle": 181.46, "high": 181.46, "notes": ["low counts nothing"],
}  # fmt: skip


def test_a_job_that_only_went_on_from_altered_data_leads_to_the_incident() -> None:
    """Nobody touched it and it completed, so neither verdict nor findings would tell that its results are in doubt."""
    page = shown(verdicts=[VERDICT], losses=[LOSS])
    assert "incident 5d09ce3d4edb (files altered: 1 finding) counts its loss" in page
    assert "0.00 / 181.46 / 181.46 GPU-hours (invalid)" in page
    assert "low counts nothing" in page


@pytest.mark.parametrize(("found", "said"), [({"losses": []}, True), ({"losses": [], "findings": [FINDING]}, False), ({}, False)])
def test_a_job_that_nobody_harmed_is_said_to_be_so(found: dict[str, Any], said: bool) -> None:
    """Whoever asks whether a colleague killed it is answered in words; not beside news alone, where what came before is unknown."""
    assert ("no finding is about this job" in shown(verdicts=[VERDICT], **found)) == said


def test_where_lines_of_su_are_is_said() -> None:
    """Their source is called after sshd: whoever looks up such a line must not look in the wrong log."""
    became = {**line(1), "source": "sshd", "text": "su[811]: pam_unix(su:session): session opened for user u017"}
    said = "source sshd is the access log of a host (auth.log, secure or its journal): lines of sshd, su, sudo, PAM, logind and cron alike"
    assert said in shown(timeline=[became, line(2)], timeline_length=2)
    cited = {"finding_id": "f1", "role": "login", "event_time": 1, "source": "sshd", "summary": "su", "raw": "su[811]: x"}
    assert said in shown(findings=[FINDING], evidence=[cited])
    assert "access log" not in shown(timeline=[line(2)], timeline_length=1)
