"""The Helm chart: what can be held of the templates as they stand, and of what Helm makes of them where there is a helm."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import pipeline
from pipeline import settings
from pipeline.settings import NotifySettings, Settings, WorkerSettings
from tests.unit.deploy.existing import check_command, check_variable, tool

CHART = Path(__file__).parents[3] / "deploy" / "helm" / "trainwatch"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
TEMPLATES = {path.name: path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").iterdir())}
EVERYTHING = {
    "keda.enabled": "true", "keda.triggerAuthentication": "kafka", "notifier.enabled": "true", "serviceMonitor.enabled": "true",
    "evidenceCheck.enabled": "true",
    "serviceMonitor.labels.release": "prometheus", "keys": "trainwatch-keys", "image.pullSecrets[0].name": "pull",
    "worker.priorityClassName": "high", "worker.nodeSelector.pool": "cpu", "networkPolicy.metricsFrom[0].podSelector.matchLabels.app": "p",
    "networkPolicy.kafka.to[0].ipBlock.cidr": "10.0.0.0/8", "settings.evidence.key_file": "/etc/trainwatch/keys/evidence.pem",
}  # fmt: skip
HELM = "go install helm.sh/helm/v3/cmd/helm@v3.22.0"
OPENS = re.compile(r"\{\{-? *(if|with|range|define)\b")
CLOSES = re.compile(r"\{\{-? *end *-?\}\}")


@pytest.mark.parametrize("name", TEMPLATES)
def test_actions_are_balanced(name: str) -> None:
    """Each block that is opened is closed."""
    text = re.sub(r"\{\{-? */\*.*?\*/ *-?\}\}", "", TEMPLATES[name], flags=re.DOTALL)
    assert "{{" not in re.sub(r"\{\{.*?\}\}", "", text)
    assert len(OPENS.findall(text)) == len(CLOSES.findall(text))


@pytest.mark.parametrize("name", TEMPLATES)
def test_values_that_are_named_exist(name: str) -> None:
    """A misspelt one would be empty without a word."""
    for path in re.findall(r"\.Values((?:\.\w+)+)", TEMPLATES[name]):
        found: Any = VALUES
        for part in path.removeprefix(".").split("."):
            assert isinstance(found, dict), path
            assert part in found, path
            found = found[part]
    included = set(re.findall(r'include "([\w.]+)"', TEMPLATES[name]))
    assert included <= set(re.findall(r'define "([\w.]+)"', TEMPLATES["_helpers.tpl"]))


@pytest.mark.parametrize("name", TEMPLATES)
def test_commands_and_variables_exist(name: str) -> None:
    """What pods start, and by which variables they are told."""
    for words in re.findall(r"\bargs: \[([^\]]+)\]", TEMPLATES[name]):
        check_command(words.split(", "))
    for words in re.findall(r"command: \[trainwatch, ([^\]]+)\]", TEMPLATES[name]):
        check_command(words.split(", "))
    for variable in re.findall(r"\bTRAINWATCH_\w+", TEMPLATES[name]):
        if variable != "TRAINWATCH_":
            check_variable(variable)


def test_evidence_is_held_and_checked() -> None:
    """Side by side in one pod: neither waits for the other."""
    assert re.findall(r"\bargs: \[([^\]]+)\]", TEMPLATES["evidence.yaml"]) == [
        "evidence, hold, --open", "evidence, release, --closed", "evidence, verify",
    ]  # fmt: skip
    before, _, containers = TEMPLATES["evidence.yaml"].partition(" containers:")
    assert (before.count("initContainers"), containers.count("- name: ")) == (0, 4)  # the fourth is the volume


def test_versions_are_ours() -> None:
    """Of chart and program."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (pipeline.__version__, pipeline.__version__)


def test_the_settings_are_ours_and_hold_no_password() -> None:
    """Those that the chart gives when nobody says otherwise."""
    Settings.model_validate(VALUES["settings"])
    assert not {key for part in VALUES["settings"].values() for key in part} & {"password", "key", "key_password"}


def test_keys_are_mounted_as_we_take_them() -> None:
    """Root's, readable by our group: no container need copy them first."""
    volumes = TEMPLATES["_helpers.tpl"].partition('define "trainwatch.volumes"')[2].partition("define")[0]
    modes = re.findall(r"secret: \{secretName: \{\{ \.Values\.(\w+) \}\}, defaultMode: 0(\d{3})\}", volumes)
    assert [name for name, _ in modes] == ["secret", "keys"]
    for _, mode in modes:
        mounted = os.stat_result((0o100000 | int(mode, 8), 0, 0, 1, os.getuid() + 1, 10001, 0, 0, 0, 0))
        assert not settings.others_may(mounted)
    assert [name for name, text in TEMPLATES.items() if "initContainers" in text] == ["migrate.yaml"]


def _template(**changes: str) -> subprocess.CompletedProcess[str]:
    """`helm template` with these values.  Skips where there is none."""
    helm = tool("helm", HELM)
    sets = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    return subprocess.run(
        [helm, "template", "site", CHART, "--kube-version", "1.31.0", *sets], capture_output=True, text=True, timeout=60, check=False
    )


def _rendered(**changes: str) -> list[dict[str, Any]]:
    """What Helm makes of the chart."""
    done = _template(**changes)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def _pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for each in objects:
        if each["kind"] in ("StatefulSet", "Deployment", "Job", "CronJob"):
            spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
            yield f"{each['kind']} {each['metadata']['name']}", spec["template"]["spec"]


def test_helm_finds_no_fault() -> None:
    """Its own lint, warnings included."""
    done = subprocess.run([tool("helm", HELM), "lint", "--strict", CHART], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_rendered_objects_are_those_of_kubernetes(version: str, tmp_path: Path) -> None:
    """By its own schemas, unknown fields refused; KEDA's and the Prometheus operator's kinds have none there."""
    validate = tool("kubernetes-validate", "pip install kubernetes-validate")
    objects = [each for each in _rendered(**EVERYTHING) if each["kind"] not in ("ScaledObject", "ServiceMonitor")]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    words = [validate, "--strict", "--kubernetes-version", version, str(tmp_path / "all.yaml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("passed") == len(objects)


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["as given", "everything"])
def test_rendered_pods_have_no_rights(changes: dict[str, str]) -> None:
    """No root, no token, nothing to write but what is mounted, an end to memory; mounts are of volumes that exist."""
    pods = dict(_pods(_rendered(**changes)))
    assert len(pods) == (4 if changes else 2)
    for name, pod in pods.items():
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False), name
        assert pod["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            secured = container["securityContext"]
            assert (secured["readOnlyRootFilesystem"], secured["allowPrivilegeEscalation"]) == (True, False)
            assert secured["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize(("part", "name"), [("migrate", "Job site-migrate"), ("evidenceCheck", "CronJob site-evidence")])
def test_jobs_have_accounts_of_their_own(part: str, name: str) -> None:
    """Workers can neither make tables nor read lines: a job's settings come before the release's, its secret instead of theirs."""
    given = {
        f"{part}.settings.clickhouse.user": "ours",
        f"{part}.secret": "ours",
        "evidenceCheck.enabled": "true",
        "keys": "trainwatch-keys",
    }
    objects = _rendered(**given)
    maps = {each["metadata"]["name"]: yaml.safe_load(each["data"]["trainwatch.yaml"]) for each in objects if each["kind"] == "ConfigMap"}
    for pod_name, pod in _pods(objects):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        found = maps[volumes["settings"]["configMap"]["name"]]
        own = pod_name == name
        assert (volumes["secret"]["secret"]["secretName"], found["clickhouse"]["user"]) == (
            ("ours", "ours") if own else ("trainwatch", VALUES["settings"]["clickhouse"]["user"])
        ), pod_name
        assert found["kafka"] == VALUES["settings"]["kafka"]
        assert volumes["keys"]["secret"]["secretName"] == "trainwatch-keys"


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["as given", "everything"])
def test_rendered_objects_find_one_another(changes: dict[str, str]) -> None:
    """Selectors fit labels, the settings in the map are settings, and before the release nothing of the release is needed."""
    objects = _rendered(**changes)
    maps = {each["metadata"]["name"]: each for each in objects if each["kind"] == "ConfigMap"}
    for each in maps.values():
        found = Settings.model_validate(yaml.safe_load(each["data"]["trainwatch.yaml"]))
        assert found.kafka.replication_factor == 3
    for name, pod in _pods(objects):
        [settings_map] = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
        assert ("helm.sh/hook" in maps[settings_map]["metadata"].get("annotations", {})) == name.startswith("Job "), name
    served = [each for each in objects if each["kind"] in ("StatefulSet", "Deployment")]
    labels = [each["spec"]["template"]["metadata"]["labels"].items() for each in served]
    named = [each["metadata"]["labels"].items() for each in objects if each["kind"] == "Service"]
    for each in objects:
        if each["kind"] in ("Service", "PodDisruptionBudget", "ServiceMonitor"):
            selector = each["spec"]["selector"]
            wanted = selector.get("matchLabels", selector).items()
            assert len([those for those in (named if each["kind"] == "ServiceMonitor" else labels) if wanted <= those]) == 1, each
    monitors = [each["spec"] for each in objects if each["kind"] == "ServiceMonitor"]
    jobs = [dict(those)[spec["jobLabel"]] for spec in monitors for those in named if spec["selector"]["matchLabels"].items() <= those]
    assert jobs == (["trainwatch", "trainwatch-notify"] if changes else [])
    containers = {each["kind"]: each["spec"]["template"]["spec"]["containers"][0] for each in served}
    ports = {kind: [port["containerPort"] for port in container["ports"]] for kind, container in containers.items()}
    assert ports.pop("StatefulSet") == [WorkerSettings().health_port]
    assert list(ports.values()) == ([[NotifySettings().health_port]] if changes else [])
    [worker] = [each for each in objects if each["kind"] == "StatefulSet"]
    assert ("replicas" in worker["spec"]) == (not changes)
    scaled = [each for each in objects if each["kind"] == "ScaledObject"]
    assert [trigger["metadata"]["topic"] for each in scaled for trigger in each["spec"]["triggers"]] == (
        list(settings.Settings().kafka.input_topics) if changes else []
    )


def test_settings_of_a_site_do_not_part_a_pod_from_its_probes() -> None:
    """Ports are those of the chart, whatever the settings say, and Kubernetes waits for longer than a worker waits for itself."""
    pods = dict(
        _pods(
            _rendered(
                **EVERYTHING,
                **{
                    "settings.worker.health_port": "8080",
                    "settings.notify.health_port": "0",
                    "settings.checkpoint.shutdown_seconds": "60.5",
                },
            )
        )
    )
    for name, kind in (("worker", "StatefulSet"), ("notify", "Deployment")):
        [container] = next(pod for each, pod in pods.items() if each.startswith(kind))["containers"]
        env = {each["name"]: each.get("value") for each in container["env"]}
        assert env[f"TRAINWATCH_{name.upper()}__HEALTH_PORT"] == str(container["ports"][0]["containerPort"])
    assert pods["StatefulSet site-worker"]["terminationGracePeriodSeconds"] > 60.5
    assert dict(_pods(_rendered()))["StatefulSet site-worker"]["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize(
    ("part", "changes", "port"),
    [
        ("kafka", {"settings.kafka.bootstrap_servers": r"k1:9092\,k2:9093"}, "9093"),
        ("clickhouse", {"settings.clickhouse.port": "9440"}, "9440"),
    ],
    ids=["kafka", "clickhouse"],
)
def test_a_port_that_the_policy_shuts_is_told(part: str, changes: dict[str, str], port: str) -> None:
    """Before the release: behind it workers would time out, and nothing would name the policy."""
    shut = _template(**changes)
    assert shut.returncode != 0
    assert f"networkPolicy.{part}.ports lacks {port}" in shut.stderr
    assert _template(**changes, **{f"networkPolicy.{part}.ports": f"{{9092,{port}}}"}).returncode == 0
    assert _template(**changes, **{"networkPolicy.enabled": "false"}).returncode == 0


@pytest.mark.parametrize("servers", ["k2", r"k1:9092\, k2", "[::1]"])
def test_a_broker_without_port_is_told(servers: str) -> None:
    """By what it is, not as a port of that name that the policy lacks."""
    said = _template(**{"settings.kafka.bootstrap_servers": servers})
    assert said.returncode != 0
    assert f'settings.kafka: "{servers.rpartition(" ")[2]}" names no port; write host:port' in said.stderr
