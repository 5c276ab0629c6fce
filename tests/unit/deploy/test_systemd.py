"""Units for systemd: those that systemd takes, that start what there is, and that keep secrets to one account."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import ProcessCollector

from pipeline.settings import CheckpointSettings
from tests.unit.deploy.existing import check_command, check_variable

FOLDER = Path(__file__).parents[3] / "deploy" / "systemd"
COMPOSE = FOLDER.parent / "compose" / "compose.yaml"
SERVICES = sorted(FOLDER.glob("*.service"))
PROGRAM = "/opt/trainwatch/.venv/bin/trainwatch"


def _values(path: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)


def _tool(name: str) -> str:
    if (found := shutil.which(name)) is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_systemd_takes_them(tmp_path: Path) -> None:
    """`systemd-analyze verify`; the program that they start need not be there."""
    analyse = _tool("systemd-analyze")
    for path in FOLDER.glob("*.[st]*"):
        name = path.name.replace("@.", "@1.")
        (tmp_path / name).write_text(path.read_text(encoding="utf-8").replace(f"{PROGRAM} ", "/bin/true "), encoding="utf-8")
    units = [path for path in tmp_path.iterdir() if path.suffix in (".service", ".timer")]
    assert len(units) >= 4
    done = subprocess.run([analyse, "verify", *units], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert "trainwatch" not in done.stderr, done.stderr


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_what_it_starts_exists(path: Path) -> None:
    """The command and its variables."""
    starts = _values(path, "ExecStart")
    assert starts
    for start in starts:
        program, *words = start.split()
        assert program == PROGRAM
        check_command(words)
    for setting in _values(path, "Environment"):
        check_variable(setting.partition("=")[0])


def test_evidence_is_held_and_then_checked_whatever_became_of_the_hold() -> None:
    """Two units in this order, of which the second does not require the first: each that fails is an alarm of its own."""
    hold, verify = FOLDER / "trainwatch-evidence.service", FOLDER / "trainwatch-evidence-verify.service"
    starts = [start.removeprefix(f"{PROGRAM} evidence ") for path in (hold, verify) for start in _values(path, "ExecStart")]
    assert starts == ["hold --open", "release --closed", "verify"]
    assert verify.name in _values(hold, "Wants")[0].split()
    assert hold.name in _values(verify, "After")[0].split()
    assert [_values(verify, key) for key in ("Requires", "Requisite", "BindsTo", "PartOf")] == [[]] * 4
    for path in (hold, verify):  # the later wins: an account that may read lines
        assert _values(path, "EnvironmentFile") == ["-/etc/trainwatch/secrets", "-/etc/trainwatch/evidence.env"]
    for variable in re.findall(r"^# +(TRAINWATCH_\w+)=", hold.read_text(encoding="utf-8"), re.MULTILINE):
        check_variable(variable)
    assert _values(FOLDER / "trainwatch-evidence.timer", "OnCalendar") == ["*-*-* 03:30:00 UTC"]


@pytest.mark.parametrize("name", ["trainwatch-worker@", "trainwatch-notify"])
def test_who_waits_for_kafka_waits_for_ever(name: str) -> None:
    """A start without a broker ends after a quarter of a minute: a limit of starts would be reached in a short outage, and outlast it."""
    path = FOLDER / f"{name}.service"
    assert (_values(path, "Restart"), _values(path, "StartLimitIntervalSec")) == (["always"], ["0"])


@pytest.mark.parametrize("name", ["trainwatch-worker@", "trainwatch-notify"])
def test_who_serves_metrics_sees_what_they_are_made_of(name: str, tmp_path: Path) -> None:
    """Where prometheus_client sees no /proc/stat, as within ProcSubset=pid, it tells nothing: TrainwatchMemory would never fire."""
    (tmp_path / "self").symlink_to("/proc/self")
    assert list(ProcessCollector(proc=str(tmp_path), registry=None).collect()) == []
    assert _values(FOLDER / f"{name}.service", "ProcSubset") == []


def test_a_worker_that_does_not_stop_ends_itself_and_says_so() -> None:
    """Before systemd kills it, or compose."""
    [seconds] = _values(FOLDER / "trainwatch-worker@.service", "TimeoutStopSec")
    assert int(seconds) > CheckpointSettings().shutdown_seconds
    graces = re.findall(r"^x-worker:.*?stop_grace_period: (\d+)s$", COMPOSE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [int(grace) > CheckpointSettings().shutdown_seconds for grace in graces] == [True]


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_secrets_stay_with_one_account(path: Path) -> None:
    """No password stands in a unit, and what is written is nobody else's; keys belong to an account that is the same at each start."""
    text = path.read_text(encoding="utf-8")
    assert "EnvironmentFile=-/etc/trainwatch/secrets" in text
    assert not re.search(r"password|token", text, re.IGNORECASE)
    assert (_values(path, "User"), _values(path, "DynamicUser")) == (["trainwatch"], [])
    assert (_values(path, "UMask"), _values(path, "NoNewPrivileges"), _values(path, "ProtectSystem")) == (["0077"], ["yes"], ["strict"])


def test_account_and_folders_are_made(tmp_path: Path) -> None:
    """By systemd-sysusers and systemd-tmpfiles, below another root: settings are read by the group, keys by the account alone."""
    sysusers, tmpfiles = _tool("systemd-sysusers"), _tool("systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")
    made = subprocess.run([sysusers, f"--root={tmp_path}", FOLDER / "trainwatch.sysusers"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"systemd-sysusers may not work here: {made.stderr}")
    [line] = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("trainwatch:")]
    assert line.endswith("/nologin")
    done = subprocess.run(
        [tmpfiles, "--create", f"--root={tmp_path}", FOLDER / "trainwatch.tmpfiles"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"systemd-tmpfiles may not work here: {done.stderr}")
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("etc/trainwatch", "etc/trainwatch/keys", "var/lib/trainwatch")}
    assert modes == {"etc/trainwatch": 0o750, "etc/trainwatch/keys": 0o700, "var/lib/trainwatch": 0o700}
