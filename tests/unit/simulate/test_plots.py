"""Each pattern's acts leave the lines that they claim, read back by the pipeline's own parsers; and so do their harmless look-alikes."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.model.events import (
    AuditRecord,
    CheckpointLoaded,
    CheckpointNote,
    CodePushed,
    EnvironmentSet,
    GlobalUnpickled,
    HookFound,
    Iteration,
    JobRecord,
    JobUpdate,
    KillRequest,
    Login,
    ModuleImported,
    PrivilegeUsed,
    ProcessSpawned,
    RankFailed,
    SignalRequested,
    TrainingLine,
)
from pipeline.simulate.chronicle import SHOWS
from pipeline.simulate.harmless import RATES
from pipeline.simulate.plan import PATTERNS, Plan
from pipeline.simulate.plots import PLOTS
from tests.unit.simulate.clusters import Told

UNSET = "4294967295"
Act = dict[str, Any]


@pytest.fixture(scope="module")
def told() -> Told:
    """Ten days with three acts of each pattern."""
    acts = {**dict.fromkeys(PATTERNS, 3), "p17": 4, "p15": 1, "p16": 1}
    return Told(Plan(seed=11, days=10, gpus=256, thin=3, acts=acts))


def wrote(told: Told, act: Act, path: str = "") -> list[dict[str, str]]:
    """Changes of the act's artefacts in the actor's own login."""
    uid = str(told.uid_of(act["actor"]))
    wanted = [path] if path else act["artefacts"]
    return [each for each in told.touched if each["auid"] == uid and any(name in each["paths"] for name in wanted)]


def killed(told: Told, job: str) -> list[RankFailed]:
    """Ranks of a job that ended by SIGKILL, as the launcher tells it."""
    return [body for body in told.bodies(RankFailed, job) if body.signal == 9]


def p01(told: Told, act: Act) -> None:
    """The login uid of the actor stands in the kill of the rank's pid."""
    pid, uid = act["detail"]["pid"], str(told.uid_of(act["actor"]))
    kills = [seen.body for seen in told.events if isinstance(seen.body, AuditRecord) and seen.body.fields.get("syscall") == "62"]
    assert any(body.fields["auid"] == uid and int(body.fields["a0"], 16) == int(pid) for body in kills)


def p02(told: Told, act: Act) -> None:
    """The kill carries the victim's uid and no login; the file was written by the actor."""
    assert wrote(told, act)
    job = act["victims"][0]["job"]
    owner = str(told.uid_of(act["victims"][0]["owner"]))
    kills = [
        seen.body for seen in told.events if isinstance(seen.body, AuditRecord) and seen.body.fields.get("syscall") == "62"
        and seen.body.fields["uid"] == owner and seen.body.fields["auid"] == UNSET
        and int(seen.body.fields["pid"]) == int(seen.body.fields["a0"], 16)
    ]  # fmt: skip
    assert kills
    if told.bodies(ModuleImported, job):
        assert told.bodies(SignalRequested, job)


def p03(told: Told, act: Act) -> None:
    """The controller names who asked; a success stands in the accounting too."""
    job, uid = act["victims"][0]["job"], told.uid_of(act["actor"])
    requests = [body for body in told.bodies(KillRequest, job) if body.uid == uid]
    assert requests
    if any(body.refused for body in requests):
        assert act["victims"][0]["effect"] == "refused_cancel"
        assert sum(not body.refused for body in requests) == int(act["detail"]["tries"]) >= 3  # told before it is refused
    else:
        assert any(body.cancelled_by_uid == uid for body in told.bodies(JobRecord, job))


def p04(told: Told, act: Act) -> None:
    """Written by the actor, imported with another hash than before, and the job fails."""
    _shared_file(told, act, ModuleImported)


def _shared_file(told: Told, act: Act, kind: type[Any]) -> None:
    assert wrote(told, act)
    path = next(each for each in act["artefacts"] if "site-packages" in each or "/data/" in each)
    hashes = {body.sha256 for body in told.bodies(kind) if body.path == path}
    assert len(hashes) >= 2
    named = {victim["job"] for victim in act["victims"]}
    assert {body.sha256 for body in told.bodies(kind) if body.path == path and body.job in named} <= hashes


def p05(told: Told, act: Act) -> None:
    """A hook or a variable that is there for victims with a probe only after the write."""
    assert wrote(told, act)
    probed = {seen.job for seen in told.events if isinstance(seen.body, ModuleImported)} & {each["job"] for each in act["exposed"]}
    hooks = {body.path for body in told.bodies(HookFound)} | {body.value for body in told.bodies(EnvironmentSet)}
    assert hooks & set(act["artefacts"]) or not probed


def p06(told: Told, act: Act) -> None:
    """The bytes at load are others than those of the save, and the loss jumps."""
    path, job = act["artefacts"][0], act["victims"][0]["job"]
    assert wrote(told, act, path.rpartition("/")[0])
    loaded = [body for body in told.bodies(CheckpointLoaded, job) if body.path == path]
    others = {seen.body.sha256 for seen in told.events if getattr(seen.body, "path", "") == path and hasattr(seen.body, "sha256")}
    assert len(loaded) == 1
    assert len(others) >= 2


def p07(told: Told, act: Act) -> None:
    """A pickle's global, a shell below the rank, a key, and a login as the victim with the actor's key."""
    victim = act["victims"][0]
    assert any((body.module, body.name) == ("posix", "system") for body in told.bodies(GlobalUnpickled, victim["job"]))
    assert told.bodies(ProcessSpawned, victim["job"])
    assert any("authorized_keys" in each["paths"] for each in told.touched if each["uid"] == str(told.uid_of(victim["owner"])))
    keys = {owner: key for key, owner in told.truth[0]["keys"].items()}
    logins = [body for body in told.bodies(Login) if body.user == victim["owner"] and keys[act["actor"]] in body.fingerprint]
    assert logins or max(act["times_ms"]) + 86_400_000 > told.truth[0]["end_ms"]


def p08(told: Told, act: Act) -> None:
    """A file of the run goes by the actor's hand; the next job resumes from further back."""
    assert wrote(told, act)
    effect = act["victims"][0]["effect"]
    resumed = int(effect.split(" ")[2].rstrip(","))
    notes = [body for body in told.bodies(CheckpointNote, act["victims"][0]["job"]) if body.action == "loaded"]
    assert any(body.iteration == resumed for body in notes)


def p09(told: Told, act: Act) -> None:
    """Steps of victims take longer than those of jobs with equal arguments before the act."""
    _shared_file(told, act, ModuleImported)
    assert len(act["victims"]) >= 3 or act["times_ms"][0] + 3 * 86_400_000 > told.truth[0]["end_ms"]
    slow = [_pace(told, victim["job"]) for victim in act["victims"]]
    assert all(pace > 0 for pace in slow)
    ratios = [
        pace / usual for victim in act["victims"] if (pace := _pace(told, victim["job"])) and (usual := _usual(told, act, victim["job"]))
    ]
    if ratios:
        assert sorted(ratios)[len(ratios) // 2] > 1.05


def _pace(told: Told, job: str) -> float:
    steps = sorted(body.elapsed_ms for body in told.bodies(Iteration, job) if body.elapsed_ms)
    return float(steps[len(steps) // 2]) if steps else 0.0


def _usual(told: Told, act: Act, job: str) -> float:
    """The quickest pace of other jobs of the same name."""
    names = {body.job: body.name for body in told.bodies(JobRecord)}
    victims = {victim["job"] for victim in act["victims"]}
    paces = [pace for other, name in names.items() if name == names.get(job) and other not in victims and (pace := _pace(told, other))]
    return sorted(paces)[len(paces) // 3] if paces else 0.0


def p10(told: Told, act: Act) -> None:
    """What victims log is not what their arguments say, or not where their siblings are."""
    _shared_file(told, act, ModuleImported)
    job = act["victims"][0]["job"]
    lines = told.bodies(Iteration, job)
    assert lines
    effect = act["victims"][0]["effect"].split(" ")[0]
    if effect == "batch":
        assert all(body.consumed_samples < body.iteration * body.global_batch_size for body in lines)
    elif effect == "learning_rate":
        rate = next(body.text for body in told.bodies(TrainingLine, job) if body.text.lstrip().startswith("lr "))
        assert max(body.learning_rate for body in lines) > 1.2 * float(rate.split(" ")[-1]) * 0.1


def p11(told: Told, act: Act) -> None:
    """A shard has another hash for those who read it after the write."""
    _shared_file(told, act, CheckpointLoaded)


def p12(told: Told, act: Act) -> None:
    """An update by the actor in the controller's log, or a push of the script by the actor."""
    job, uid = act["victims"][0]["job"], told.uid_of(act["actor"])
    if act["detail"]["change"] == "time_limit":
        assert any(body.uid == uid for body in told.bodies(JobUpdate, job))
        assert any(body.state == "TIMEOUT" for body in told.bodies(JobRecord, job))
    else:
        assert any(body.user == act["actor"] for body in told.bodies(CodePushed))
        assert wrote(told, act)


def p13(told: Told, act: Act) -> None:
    """Many jobs of the actor within the hours of the act, and others that made room or waited."""
    uid = told.uid_of(act["actor"])
    begin, end = act["windows_ms"][0]
    mine = {body.job for body in told.bodies(JobRecord) if body.owner_uid == uid and body.submit and begin <= body.submit <= end}
    assert len(mine) >= 50
    preempted = {body.job for body in told.bodies(JobRecord) if body.state == "PREEMPTED"}
    assert {each["job"] for each in act["victims"] if each["effect"].startswith("preempted")} <= preempted


def p14(told: Told, act: Act) -> None:
    """The command went through sudo in the actor's login, on the host of the victims."""
    commands = [body.command for body in told.bodies(PrivilegeUsed) if body.user == act["actor"]]
    assert any(act["detail"]["means"] in command for command in commands)
    assert act["hosts"]


def p15(told: Told, act: Act) -> None:
    """Only large jobs are struck, the actor does nothing while away, and there are several rounds."""
    gate = int(act["detail"]["gpus_above"])
    for victim in act["victims"]:
        sizes = {body.gpus for body in told.bodies(JobRecord, victim["job"]) if body.gpus}
        assert min(sizes) > gate
    assert not any(begin <= time < end for time in act["times_ms"] for begin, end in act["windows_ms"])
    assert int(act["detail"]["rounds"]) >= 2


def p16(told: Told, act: Act) -> None:
    """Pages are read and artefacts written in turn."""
    assert int(act["detail"]["rounds"]) >= 2
    assert sum("/incidents/" in artefact for artefact in act["artefacts"]) >= 2
    assert wrote(told, act)


def p17(told: Told, act: Act) -> None:
    """Each variant shows where it can be seen: in a date, a key, an address, or a login uid."""
    victim, variant = act["victims"][0], act["detail"]["variant"]
    assert any(body.uid == told.uid_of(victim["owner"]) for body in told.bodies(KillRequest, victim["job"]))
    logins = told.bodies(Login)
    if variant == "after_last_day":
        last = int(act["detail"]["last_day_ms"])
        known = next(each for each in told.settings.identities if each.id == act["actor"])
        assert known.valid_to is not None
        assert abs(known.valid_to.timestamp() * 1000 - last) < 1000
        assert any(isinstance(seen.body, Login) and seen.body.user == act["actor"] and seen.time > last for seen in told.events)
    elif variant == "foreign_key":
        assert any(body.user == victim["owner"] and f"SHA256:{act['detail']['fingerprint']}" in body.fingerprint for body in logins)
    elif variant == "two_places":
        assert len({body.address for body in logins if body.user == victim["owner"]}) >= 2
        assert act["attributable"] is False
    else:
        assert any(body.user == act["actor"] and body.run_as == victim["owner"] for body in told.bodies(PrivilegeUsed))


def p18(told: Told, act: Act) -> None:
    """The switch names the actor, and nothing comes from that host's audit while it lasts."""
    uid = str(told.uid_of(act["actor"]))
    begin, end = act["windows_ms"][0]
    host = act["hosts"][0]
    changes = [
        seen for seen in told.events if isinstance(seen.body, AuditRecord) and seen.host == host
        and seen.body.record_type in ("CONFIG_CHANGE", "DAEMON_END") and seen.body.fields.get("auid") == uid
    ]  # fmt: skip
    assert changes
    inside = [seen for seen in told.events if seen.source == "auditd" and seen.host == host and begin + 2000 < seen.time < end - 2000]
    assert inside == []


CLAIMS: dict[str, Callable[[Told, Act], None]] = {
    "p01": p01, "p02": p02, "p03": p03, "p04": p04, "p05": p05, "p06": p06, "p07": p07, "p08": p08, "p09": p09, "p10": p10, "p11": p11,
    "p12": p12, "p13": p13, "p14": p14, "p15": p15, "p16": p16, "p17": p17, "p18": p18,
}  # fmt: skip


def test_every_pattern_has_a_plot_a_claim_and_words() -> None:
    """Nothing of the catalogue is left out."""
    assert {*PLOTS} == {*PATTERNS} == {*CLAIMS} == {*SHOWS}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_acts_leave_the_lines_that_they_claim(told: Told, pattern: str) -> None:
    """Every act that had an effect, and most have, stands in the lines as the pattern says."""
    acts = told.acts(pattern)
    planned = [act for act in told.of("act") if act["pattern"] == pattern]
    assert len(acts) >= max(1, len(planned) - 1)
    for act in acts:
        CLAIMS[pattern](told, act)


def test_the_truth_is_complete(told: Told) -> None:
    """Every victim is an attempt of the truth, no actor harms himself, and every hostile end belongs to an act."""
    attempts = {(job["job"], job["submit_ms"]): job for job in told.of("job")}
    harmed = set()
    for act in told.of("act"):
        assert act["times_ms"] == sorted(act["times_ms"])
        for victim in act["victims"]:
            job = attempts[victim["job"], victim["submit_ms"]]
            assert job["owner"] == victim["owner"] != act["actor"]
            assert job["start_ms"] == victim["start_ms"] or victim["start_ms"] is None
            harmed.add((victim["job"], victim["submit_ms"]))
    assert {key for key, job in attempts.items() if job["cause"] == "interference"} <= harmed
    json.dumps(told.truth)


def test_every_line_is_read_but_the_broken_ones(told: Told) -> None:
    """With all acts and look-alikes: what no format reads was broken on the way."""
    assert told.events
    assert sum(told.unread.values()) == sum(told.run.broken.values())


def test_look_alikes_are_told_with_what_clears_them(told: Told) -> None:
    """They come from all families, name somebody of the site, and a ticket that is named stands in the settings."""
    found = told.of("look_alike")
    tickets = {ticket.id for ticket in told.settings.tickets}
    assert {each["pattern"] for each in found} >= {"p01", "p02", "p03", "p04", "p06", "p07", "p09", "p12", "p14", "p17", "p18"}
    assert {each["ticket"] for each in found} - {""} <= tickets
    known = {identity.id for identity in told.settings.identities}
    assert {each["person"] for each in found} <= known
    assert all(rate > 0 for _, rate in RATES)


def test_intensity_scales_what_acts_do() -> None:
    """Twice the intensity, more victims of the same act."""
    few, many = (Told(Plan(seed=4, days=5, gpus=256, thin=3, intensity=intensity, acts={"p04": 1})) for intensity in (0.34, 3.0))
    assert len(few.acts("p04")[0]["victims"]) == 1
    assert len(many.acts("p04")[0]["victims"]) >= 5


def test_who_has_left_trains_nothing_any_more(told: Told) -> None:
    """Neither a run of theirs that a story goes on with: what an account does after its end is an act of P17, or was agreed on."""
    left = told.of("run")[0]["offboarded_ms"]
    assert left
    borrowed = {victim["job"] for act in told.of("act") if act["pattern"] == "p17" for victim in act["victims"]}
    late = [job for job in told.of("job") if job["submit_ms"] > left.get(job["owner"], job["submit_ms"])]
    assert [job for job in late if job["job"] not in borrowed] == []
