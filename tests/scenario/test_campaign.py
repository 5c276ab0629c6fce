"""A campaign of two months, from raw logs to a verified bundle in one command; and the same without the source that decides.

Large runs of one owner are killed, their modules and a checkpoint altered, a node slowed; audit logs are missing for a week; a colleague is
there whenever something happens, another debugs what was altered; the actor denies it and points at the first; people speak of 8,000 cards.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.evidence import verify
from pipeline.evidence.signing import load_ring
from pipeline.evidence.verify import fingerprint
from pipeline.score.incidents import hours_of
from pipeline.score.truth import Truth, truth_of

DENIAL = "I never touched these jobs. Ask {}: that account was on the machine each time."


class Story(NamedTuple):
    """What came out."""

    truth: Truth
    actor: str
    bystander: str
    helper: str
    report: dict[str, Any]
    page: str
    rumour: dict[str, Any]
    bundle: Path
    key: Path
    said: str


def told(folder: Path, *silent: str) -> Story:
    """Simulated, then analysed by one command."""
    logs, cases = folder / "logs", folder / "cases"
    words = ["simulate", "--plot", "campaign", "--out", str(logs), *(f"--silent={each}" for each in silent)]
    assert CliRunner().invoke(main, words).exit_code == 0
    lines = [orjson.loads(line) for line in (logs / "truth.jsonl").read_bytes().splitlines()]
    truth = truth_of(lines)
    actor = truth.acts[0].actor
    bystander, helper = (next(each.person for each in truth.look_alikes if each.kind == kind) for kind in ("was_there", "debugs"))
    done = CliRunner().invoke(
        main,
        ["--settings", str(logs / "trainwatch.yaml"), "analyse", *map(str, sorted(logs.glob("logs.*.jsonl"))), "--cases", str(cases),
         "--reply", actor, DENIAL.format(bystander), "--reply", bystander, "Me?", "--rumour", "8000", "61"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (case,) = [each for each in cases.iterdir() if each.is_dir()]
    report, rumour = (orjson.loads((case / name).read_bytes()) for name in ("incident.json", "rumour.json"))
    page = (case / "report.html").read_text(encoding="utf-8")
    return Story(truth, actor, bystander, helper, report, page, rumour, case / "bundle.zip", cases / "evidence.key", done.stderr)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("campaign"))


def test_the_right_person_is_named_with_the_right_reservations(story: Story) -> None:
    """One incident of all kinds of acts; no colleague is a candidate; what was not recorded is said; the denial stands in it."""
    incident = story.report["incident"]
    said = incident["attribution"]
    assert (said["named"], said["leader"]) == (story.actor, f"did/{story.actor}")
    assert {each["who"] for each in said["hypotheses"]} == {"", story.actor}
    assert {each["detector"][:3] for each in incident["members"] if each["alert"]} == {"p01", "p04", "p06", "p14"}
    assert incident["scope"]["gpus_max"] == 256
    assert any("auditd was not heard on 7 days" in line for line in incident["limits"])
    assert "slurm_jobcomp was not heard on 2026-03-11: absence proves nothing there." in incident["limits"]
    assert [(each["action"], each["value"]) for each in story.report["journal"]] == [("reply", story.actor)]
    assert f"{story.bystander} is a candidate of none" in story.said
    assert DENIAL.format(story.bystander) in story.page
    assert len({story.actor, story.bystander, story.helper}) == 3


def test_its_loss_holds_what_was_destroyed_and_the_rumour_does_not(story: Story) -> None:
    """Mostly by results that rest on altered weights, as the simulator knows it; 8,000 cards for two months are another size."""
    low, _, high = story.report["incident"]["loss"]["direct_gpu_hours"]
    assert low <= hours_of(story.truth.waste) <= high
    assert story.rumour["claimed_gpu_hours"] == 8000 * 61 * 24
    assert story.rumour["recorded_gpus"] <= 288
    assert story.rumour["times_too_large"] > 50
    assert story.rumour["recorded_money"][2] > 0
    assert any("auditd was not heard" in line for line in story.rumour["unknown"])


def test_its_bundle_verifies_anywhere(story: Story) -> None:
    """Offline, by the key of whoever made it; and says that it was sealed when the files were analysed."""
    assert "verified" in story.said
    trusted = fingerprint(bytes.fromhex(load_ring(story.key)[-1]["public"]))
    done = CliRunner().invoke(main, ["evidence", "verify", str(story.bundle), "--trust", trusted, "--json"])
    assert (done.exit_code, orjson.loads(done.stdout)["ok"]) == (0, True)
    stranger = CliRunner().invoke(main, ["evidence", "verify", str(story.bundle), "--trust", "0" * 64])
    assert stranger.exit_code == 1


def test_its_bundle_has_all_that_the_report_rests_on(story: Story) -> None:
    """Records of findings, of each line of loss, of checkpoints that are traced forward, and those that excluded an explanation."""
    incident, files = story.report["incident"], verify.read_bundle(story.bundle)
    rests = {
        "loss": {name for line in incident["loss"]["lines"] for name in line["evidence"]},
        "derived": {each["event_id"] for each in incident["derived"]},
        "explanations": {item["by"] for finding in story.report["findings"] for item in finding["checklist"]} - {""},
        "findings": {item["event_id"] for finding in story.report["findings"] for item in finding["evidence"]},
    }
    shown = {line["event_id"] for record in verify.lines_of(files[verify.RECORDS]) for line in record["lines"]}
    for what, ids in rests.items():
        assert ids, what
        assert ids <= shown, what
    assert orjson.loads(files[verify.REPORT])["unavailable"] == []
    assert rests["loss"] <= set(re.findall(r"[0-9a-f]{32}", story.page))


def test_without_the_source_that_decides_nobody_is_named(tmp_path: Path) -> None:
    """No logins: the same person leads, under a label, and the report says which source would tell."""
    story = told(tmp_path, "sshd")
    said = story.report["incident"]["attribution"]
    assert (said["named"], said["leader"][:11]) == ("", "did/person-")
    assert "logins were not recorded" in said["withheld"]
    assert "sshd" in {each["source"] for each in said["decides"]}
    assert story.actor not in orjson.dumps(said).decode()
    assert [f"did/{each['value']}" for each in story.report["journal"]] == [said["leader"]]
    assert "verified" in story.said


def test_a_topic_is_sealed_as_one(tmp_path: Path) -> None:
    """Offsets of a record and of its rows are those of the topic: with several partitions they would be of different records."""
    log = tmp_path / "logs.training.jsonl"
    log.touch()
    done = CliRunner().invoke(main, ["analyse", str(log), "--partitions", "2", "--cases", str(tmp_path / "cases")])
    assert (done.exit_code, "leave out --partitions" in done.stderr) == (2, True)
