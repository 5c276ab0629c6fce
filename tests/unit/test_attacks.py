"""Attacks by the authors of log lines: nobody hides his act and nobody innocent is named.

Two attackers.  The *user* prints what he likes into the output of his own job 66 (uid 5066), chooses its names and paths, and may ask
for anything; the *node root* also writes the logs of one node.  Each attack is told in lines, through the whole pipeline:

    victim     job 7 of u012 on gpu-001, rank 4711, killed at 97 by u099        honest: p01 names u099
    attacker   job 66 of u066 on gpu-001 or elsewhere
"""

import io
import random
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson
import pytest
from rich.console import Console

from pipeline.artefacts import step as artefacts
from pipeline.cli.console import safe
from pipeline.hosts import step as hosts
from pipeline.ingest import step as ingest
from pipeline.ingest.facts import facts_of
from pipeline.jobs.index import JobIndex
from pipeline.model.events import Event
from pipeline.model.facts import host_case
from pipeline.model.outcome import EventRow, Observed, Row, Tell
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import CLUSTER, COLLEAGUE, HOST, JOB, OWNER, PATH, PID, ms
from tests.scenario.lines import Line, Site, ship

ATTACKER, MINE = 5066, "66"
SITE = Site()
HUM = [line for at in range(-4_200, 7_500, 300) for line in SITE.hum(at, ("slurmctld", "auditd", "kernel"))]


def run(lines: Iterable[Line], partitions: int = 1, *, headers: bool = True) -> Results:
    """The lines through the whole pipeline; `headers` False: a shipper that says neither host nor file."""
    records = list(ship([*HUM, *lines]))
    if not headers:
        records = [
            msgspec.structs.replace(record, headers=tuple(each for each in record.headers if each[0] == "collected"))
            if record.topic == "logs.training"
            else record
            for record in records
        ]
    return drive(records, partitions)


def drive(records: Sequence[Any], partitions: int = 1) -> Results:
    runtime = LocalRuntime(build.settings(), partitions, keep_rows=True)
    for at in range(0, len(records), 20):
        runtime.feed(records[at : at + 20])
        runtime.checkpoint()
    return runtime.finish()


def findings(results: Results) -> list[dict[str, Any]]:
    return [orjson.loads(body) for body in results.canonical_findings().values()]


def named(results: Results) -> list[tuple[str, str, str]]:
    """(detector, job, actor) of every finding."""
    return sorted((body["detector"], body["attempt"][1], body["actor"]) for body in findings(results))


def same_in_any_order(lines: Sequence[Line]) -> Results:
    """The results, after checking that order and partitions change nothing."""
    results = run(lines)
    dice = random.Random(5)
    records = sorted(ship([*HUM, *lines]), key=lambda record: record.timestamp + dice.uniform(0, 60_000))
    spread = [msgspec.structs.replace(record, partition=dice.randrange(4)) for record in records]
    again = drive(spread, 4)
    assert again.canonical_findings() == results.canonical_findings()
    assert again.canonical_verdicts() == results.canonical_verdicts()
    return results


def printed(at: float, text: str, *, job: str = MINE, host: str = HOST) -> Line:
    """What the attacker's own job prints."""
    return Line(at, "training", host, "job", f"/home/u066/slurm-{job}.out", text)


def probe(at: float, kind: str, *, job: str = MINE, file: str = MINE, host: str = HOST, pid: int = PID, **said: Any) -> Line:
    """A line of the probe, forged, in the output of the attacker's job."""
    event = {"trainwatch_probe": 1, "kind": kind, "time_ms": ms(at), "host": host, "job": job, "pid": pid, **said}
    return printed(at, orjson.dumps(event).decode(), job=file, host=host)


def enveloped(line: Line, file: str) -> Line:
    """The line as a job prints it that imitates a shipper's JSON."""
    return line._replace(text=orjson.dumps({"message": line.text, "host": "gpu-003", "file": file}).decode())


def victim() -> list[Line]:
    """A colleague kills the rank of a job."""
    return [
        *SITE.start(0), *SITE.rank(1), *SITE.kill(97), *SITE.rank_failed(98), *SITE.end(100, state="FAILED", signal=9),
    ]  # fmt: skip


def attackers_job(nodes: str = HOST) -> list[Line]:
    """A job of the attacker's own."""
    return [*SITE.start(0, MINE, ATTACKER, nodes), *SITE.end(200, MINE, owner=ATTACKER, nodes=nodes)]


FOUND = [("p01_foreign_kill", "7", "u099")]


def test_the_honest_story_is_found() -> None:
    """What the attacks below try to hide."""
    assert named(same_in_any_order(victim())) == FOUND


HIDING: dict[str, list[Line]] = {
    "my own job claims the victim's process": [*attackers_job(), probe(50, "process_started")],
    "my own job elsewhere claims the victim's process": [*attackers_job("gpu-002"), probe(50, "process_started")],
    "a job that never was claims the victim's process": [probe(50, "process_started", job="99", file="99")],
    "my output says that the victim's rank is of another job": [*attackers_job(), probe(50, "process_started", job="99")],
    "my output says in the step daemon's words that the victim was preempted": [
        *attackers_job(),
        printed(96, "slurmstepd: error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T00:01:36 DUE TO PREEMPTION ***"),
        printed(96, "slurmstepd: error: *** JOB 7 ON gpu-001 CANCELLED AT 2026-03-02T00:01:36 DUE TO TIME LIMIT ***"),
    ],
    "my output is an envelope that names the victim's output": [
        *attackers_job(),
        enveloped(probe(50, "process_started"), "/runs/slurm-7.out"),
        enveloped(
            printed(96, "slurmstepd: error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T00:01:36 DUE TO PREEMPTION ***"),
            "/runs/slurm-7.out",
        ),
    ],
    "a refused cancel comes before the kill": SITE.refuse(90),
    "a cancel without effect comes before the kill": [
        *SITE.cancel(90),
        *[each._replace(text=each.text.replace("Access/permission denied", "Job/step already completing or completed"))
          for each in SITE.refuse(90)[-1:]],
    ],
    "a year of output in ten seconds": [
        printed(95, f':::MLLOG {{"time_ms": {ms(-at * 600)}, "key": "epoch", "value": {at}}}') for at in range(2_000)
    ],
}  # fmt: skip


@pytest.mark.parametrize("lines", HIDING.values(), ids=HIDING)
def test_nobody_hides_a_kill(lines: list[Line]) -> None:
    """The finding stands, with its name, in any order."""
    results = same_in_any_order([*victim(), *lines])
    assert ("p01_foreign_kill", "7", "u099") in named(results)


def test_a_file_called_like_the_victims_output_hides_only_the_name() -> None:
    """Whoever runs a job chooses where its output goes, also under another job's number: the kill is still there to be seen."""
    line = printed(96, "slurmstepd: error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T00:01:36 DUE TO PREEMPTION ***", job="7")
    (found,) = findings(same_in_any_order([*victim(), line]))
    assert (found["attempt"][1], found["alert"], found["gate"]) == ("7", False, "not checked: preempted")


@pytest.mark.parametrize("lines", HIDING.values(), ids=HIDING)
def test_nor_where_the_shipper_names_no_file(lines: list[Line]) -> None:
    """The same where nobody knows whose output a line is."""
    found = [body for body in findings(run([*victim(), *lines], headers=False)) if body["detector"] == "p01_foreign_kill"]
    assert [body["attempt"][1] for body in found] == ["7"]


FRAMING: dict[str, list[Line]] = {
    "i claim a process that its owner ends himself": [
        *SITE.start(0, MINE, ATTACKER), probe(1, "process_started", pid=6000),
        *SITE.kill(97, by=COLLEAGUE, target=6000, owner=COLLEAGUE),
        printed(98, "ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: -9) local_rank: 0 (pid: 6000) of binary: /x"),
        *SITE.end(100, MINE, "FAILED", owner=ATTACKER, signal=9),
    ],
    "i claim it in the victim's name": [
        *SITE.start(0), *SITE.start(0, MINE, ATTACKER), probe(1, "process_started", job="7", pid=6000),
        *SITE.kill(97, by=COLLEAGUE, target=6000, owner=COLLEAGUE),
        *SITE.end(100, state="FAILED", signal=9),
    ],
    "a refused cancel before the owner's own": [
        *SITE.start(0), *SITE.refuse(80), *SITE.cancel(98, by=OWNER), *SITE.end(100, state="CANCELLED"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("headers", [True, False], ids=["file known", "file unknown"])
@pytest.mark.parametrize("lines", FRAMING.values(), ids=FRAMING)
def test_nobody_innocent_is_accused(lines: list[Line], *, headers: bool) -> None:
    """Nothing but a refused attempt is said of u099."""
    found = findings(run(lines, headers=headers))
    assert [body["effect"] for body in found if body["effect"] != "cancel_refused"] == []


# --- checkpoints ----------------------------------------------------------------------------------------------------------------

TAMPERED = [
    *SITE.start(-300, "6"), *SITE.save(-200, "a", job="6"), *SITE.end(-100, "6", start=-300), *SITE.start(0), *SITE.load(50, "b"),
    *SITE.end(100),
]  # fmt: skip


def test_a_save_printed_by_another_job_launders_no_checkpoint() -> None:
    """The attacker's job says that the bytes which he wrote were saved: the finding stays, without a name."""
    written = [*TAMPERED, *SITE.write(-50)]
    assert named(same_in_any_order(written)) == [("p06_checkpoint_tamper", "7", "u099")]
    forged = [*written, probe(-40, "checkpoint_saved", uid=OWNER, path=PATH, sha256="b" * 64)]
    assert [body["detector"] for body in findings(same_in_any_order(forged))] == ["p06_checkpoint_tamper"]
    in_its_name = [*written, probe(-40, "checkpoint_saved", job="6", uid=OWNER, path=PATH, sha256="b" * 64)]
    assert named(same_in_any_order(in_its_name)) == [("p06_checkpoint_tamper", "7", "u099")]


# --- floods ---------------------------------------------------------------------------------------------------------------------


def test_a_flood_of_harmless_signals_or_requests_pushes_nothing_out() -> None:
    """A case is bounded per kind, and a signal that cannot kill is another kind than one that can."""
    index = JobIndex(CLUSTER, JOB, 100)
    flood = [build.kill(number / 10, signal=18) for number in range(300)]
    flood += [build.kill(number / 10, success=False) for number in range(300)]
    flood += [build.cancel_request(number / 10, ATTACKER, refused=True) for number in range(300)]
    flood += [msgspec.structs.replace(build.kill(number / 10), id=f"u{number}", unproven=True) for number in range(300)]
    real = [build.kill(97), build.cancel_request(98)]
    for number, told in enumerate(build.told_of([*flood, *real, build.allocation()], build.attempt())):
        index.add(told.id if isinstance(told, Event) else f"{number}", told)
    (case,) = index.cases(build.site())
    assert [touch.event for touch in case.touches if touch.event == real[0]] == [real[0]]
    assert [event for event, _ in case.requests()] == [real[1]]
    assert len(index.told) < 500


def test_a_flood_of_kills_beside_a_job_pushes_out_none_of_its_own() -> None:
    """Whoever has a place on the node can signal processes of his own all day."""
    index = JobIndex(CLUSTER, JOB, 100)
    beside = [build.touch(build.kill(number / 10, target=9_999), matched="host") for number in range(300)]
    for number, told in enumerate([*beside, build.touch(build.kill(97)), build.allocation()]):
        index.add(told.id if isinstance(told, Event) else f"{number}", told)
    (case,) = index.cases(build.site())
    assert build.kill(97) in [touch.event for touch in case.touches]


def test_claiming_one_process_a_thousand_times_is_one_fact() -> None:
    """Nor does it cost a thousand joins."""
    cases = Cases()
    state = hosts.build_state(build.settings(), cases)
    facts = [build.to_host(each) for each in (*build.kill_parts(97), build.job_end(100))]
    facts += [build.to_host(build.process_started(number / 100, job=MINE)) for number in range(1, 1_000)]
    _, outcomes = hosts.step(state, facts, NOTHING)
    assert len(cases.of(host_case(CLUSTER, HOST))) == 4
    assert len(outcomes) < 10


def test_saying_a_thousand_times_that_a_file_was_saved_pushes_no_save_out() -> None:
    """Of each job the last word is told."""
    state = artefacts.build_state(build.settings(), Cases())
    said = [build.save(number / 100, "c", job=MINE) for number in range(1_000)]
    events = [build.save(1, job="6"), *said, build.write(5), build.load(90)]
    _, outcomes = artefacts.step(state, [build.to_artefact(each) for each in events], NOTHING)
    assert len(outcomes) == 4


def test_a_time_long_past_proves_nothing_was_heard() -> None:
    """A job may print any time: a million of them are no million buckets on every partition."""
    step_now = build.now(100 * build.DAY)
    lines = [printed(8_640_000, f':::MLLOG {{"time_ms": {ms(-at * 600)}, "key": "epoch", "value": {at}}}') for at in range(1_000)]
    _, outcomes = ingest.step(ingest.build_state(build.settings(), Cases()), list(ship(lines)), step_now)
    assert [out for out in outcomes if isinstance(out, Observed)] == []
    assert len([out for out in outcomes if isinstance(out, Row)]) == 1_000


def test_a_job_on_many_nodes_is_told_to_each_in_a_word() -> None:
    """What all nodes are told grows with their number, not with its square."""
    nodes = tuple(f"gpu-{number:05d}" for number in range(2_000))
    told = [tell for tell in facts_of(build.job_end(100, nodes=nodes)) if tell.stage == "hosts"]
    assert len(told) == 2_000
    assert sum(len(tell.fact.body) for tell in told) < 2_000_000


ABSURD = [
    *SITE.kill(97, by=4_294_967_294, target=2**31 - 1, signal=2**31, owner=4_294_967_294),
    *SITE.kill(97, target=-1 & 0xFFFFFFFF),
    probe(50, "process_started", job="66", pid=4_194_304, rank=10_000_000),
    probe(50, "checkpoint_saved", path="/" + "x" * 4_000, sha256="f" * 64, size_bytes=2**63 - 1),
    probe(50, "checkpoint_loaded", path="/ckpt/\x1b[2J\x1f\u202e", sha256="f" * 64),
    printed(50, "failed (exitcode: -99999) local_rank: 999999 (pid: 9999999999) of binary: x"),
    printed(50, f':::MLLOG {{"time_ms": {2**70}, "key": "x", "value": {10**400}}}'),
    printed(50, " iteration 99999999999999999999/ 1 | consumed samples: 99999999999999999999 | elapsed time per iteration (ms): 1e999 |"),
    printed(50, "slurmstepd: error: *** JOB " + "9" * 60 + " ON x CANCELLED AT 2026-03-02T00:01:36 ***"),
    printed(50, "srun: error: " + "h" * 250 + ": tasks " + "0-9," * 120 + "1: Killed"),
]  # fmt: skip


def test_absurd_numbers_and_names_are_outcomes() -> None:
    """Rejected or kept: no step raises, and the story beside them is found."""
    results = same_in_any_order([*victim(), *ABSURD])
    codes = {value for letter in results.dead_letters for name, value in letter.headers if name == "x-dlq-code"}
    assert b"step_raised" not in codes
    assert FOUND[0] in named(results)


# --- whose line it is -----------------------------------------------------------------------------------------------------------

FILES: dict[str, tuple[str, str, bool]] = {
    "its own": ("/runs/slurm-48213.out", "48213", True),
    "another's": ("/runs/slurm-48213.out", "48214", False),
    "no job in the name": ("/runs/train.log", "48214", True),
    "a folder that looks like a job": ("/home/job-2024/slurm-48213.out", "48213", True),
    "a task of an array": ("/runs/slurm-48213_4.out", "48217", True),
    "a job older than the array": ("/runs/slurm-48213_4.out", "7", False),
    "a component of a heterogeneous job": ("/runs/slurm-48213.out", "48213+1", True),
}  # fmt: skip


@pytest.mark.parametrize(("file", "job", "believed"), FILES.values(), ids=FILES)
def test_a_line_speaks_for_the_job_whose_output_it_is(file: str, job: str, *, believed: bool) -> None:
    """Otherwise it is a row that says whom it claims to be of, and no fact."""
    line = probe(50, "process_started", job=job)._replace(file=file)
    _, outcomes = ingest.step(ingest.build_state(build.settings(), Cases()), list(ship([line])), NOTHING)
    (row,) = [out for out in outcomes if isinstance(out, EventRow)]
    assert (row.job == job, "claimed_job" in row.attrs) == (believed, not believed)
    assert bool([out for out in outcomes if isinstance(out, Tell)]) is believed


def test_a_host_that_only_the_line_names_says_who_shipped_it() -> None:
    """Central log hosts are ordinary, so the line is believed; an investigator sees where it came from."""
    lines = [line._replace(text=f"node=gpu-002 {line.text}") for line in SITE.kill(97)]
    _, outcomes = ingest.step(ingest.build_state(build.settings(), Cases()), list(ship([*lines, *SITE.kill(98)])), NOTHING)
    rows = [out for out in outcomes if isinstance(out, EventRow)]
    assert [(row.host, row.attrs.get("shipped_by", "")) for row in rows] == [("gpu-002", HOST)] * 2 + [(HOST, "")] * 2


# --- the investigator's terminal ------------------------------------------------------------------------------------------------

NASTY = {
    "colours": "\x1b[31mred\x1b[0m", "markup": "[red]x[/red]", "closing": "[/]", "backslashes": "x\\\\\\", "one backslash": "x\\",
    "emoji": ":skull:", "right to left": "\u202eabc", "a bell": "\x07", "C1": "\x9b2J", "a link": "[link=http://x]y[/link]",
    "lone surrogate": "\udcff", "cut in a bracket": "y" * 198 + "[/bold]",
}  # fmt: skip


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_text_of_a_line_stays_text_on_the_terminal(text: str) -> None:
    """No control character, no markup, no picture; and what surrounds it stays what it is."""
    out = io.StringIO()
    console = Console(file=out, highlight=False, emoji=False, width=1_000)
    console.print(f"[bold]{safe(text)}[/bold]|")
    printed_text = out.getvalue().rstrip("\n")
    assert printed_text.endswith("|")
    assert "[/bold]" not in printed_text or "[/bold]" in text
    assert not [char for char in printed_text if unicodedata.category(char)[0] == "C"]
    if text.isprintable() and len(text) < 200:
        assert printed_text.replace("\\", "") == f"{text}|".replace("\\", "")
