"""A site whose servers let nobody in unasked: certificates, accounts and the least rights, with real servers; started once for the file."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    NewTopic,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import AuthorizationError

from pipeline.cli import main
from pipeline.embedded import servers as embedded
from pipeline.embedded.ports import HOST
from pipeline.errors import ConfigError
from pipeline.evidence.signing import make_key
from pipeline.runtime.access import client
from pipeline.runtime.accounts import ACCOUNTS
from pipeline.runtime.admin import DEAD_LETTER
from pipeline.runtime.consuming import Group
from pipeline.runtime.dead_letters import Letters
from pipeline.runtime.notify import GROUP_SUFFIX
from pipeline.runtime.rights import ROLES, Right, principals, rights
from pipeline.settings import ClickHouseSettings, KafkaSettings, Settings, load
from pipeline.sink.clickhouse import Database
from pipeline.topology import build_topology
from tests.integration.secured import Authority, SecureBroker, TlsProxy
from tests.integration.site import ROOT
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

JOBS = 20
ROW = "{0}|{0}|u017|5017|llm|gpu|normal|RUNNING|2026-03-01T20:00:00|2026-03-01T20:01:00|2-00:00:00|gpu-012|gres:gpu:8|/d|pretrain\n"
OTHER = "somebody.elses"
STRANGER = "stranger"
CLIENT_MS = 600_000  # a client's own patience here: who waits for it does not come back in time
SERVICE_SECONDS = 30.0  # of a service manager, which kills then


def secret(name: str) -> str:
    return f"secret-of-{name}"


@pytest.fixture(scope="module")
def broker(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """With an account for each role, and one that nobody gave any rights."""
    with SecureBroker(tmp_path_factory.mktemp("secured")) as made:
        for name in (*ROLES, STRANGER):
            made.enrol(name, secret(name))
            (made.folder / f"{name}.password").write_text(f"{secret(name)}\n")
            (made.folder / f"{name}.password").chmod(0o600)
        with made.admin() as admin:
            admin.create_topics([NewTopic(OTHER, 1, 1)])
        yield made


@pytest.fixture(scope="module")
def proxy(broker: SecureBroker, running_servers: Settings) -> Iterator[TlsProxy]:
    """TLS before the native port of ClickHouse."""
    with TlsProxy(broker.authority, running_servers.clickhouse.host, running_servers.clickhouse.port) as made:
        yield made


@pytest.fixture(scope="module")
def file_of(broker: SecureBroker, proxy: TlsProxy) -> Iterator[Callable[..., Path]]:
    """The settings file of a role; further fields of `kafka` change it."""
    database = "secured"

    def write(role: str, **kafka: Any) -> Path:
        reach = {"bootstrap_servers": broker.address("SASL"), "ca_file": str(broker.authority.file), "user": role, "partitions": 1}
        content = {
            "kafka": {**reach, "password_file": str(broker.folder / f"{role}.password"), "session_timeout_seconds": 6, **kafka},
            "clickhouse": {"host": HOST, "port": proxy.port, "secure": True, "ca_file": str(broker.authority.file), "database": database},
            "checkpoint": {"interval_seconds": 0.25},
            "worker": {"health_port": 0},
        }
        path = broker.folder / f"{role}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    yield write
    with Database(load(write("worker")).clickhouse) as found:
        found.command(f"DROP DATABASE IF EXISTS {database} SYNC")


@pytest.fixture(scope="module")
def granted(broker: SecureBroker, file_of: Callable[..., Path]) -> Settings:
    """The rights that `trainwatch topics acl` prints are in force, and an operator has made the topics.  Settings of the worker."""
    settings = load(file_of("worker"))
    found = rights(settings, build_topology(settings), principals({role: f"User:{role}" for role in ROLES}))
    with broker.admin() as admin:
        made = admin.create_acls([_acl(right) for right in found])
        assert not made["failed"]
    created = run(file_of("operator"), "topics", "create")
    assert created.exit_code == 0, created.output
    return settings


def _acl(right: Right) -> Any:
    """The same, as the client of an administrator wants it."""
    words = {"DescribeConfigs": "DESCRIBE_CONFIGS"}
    return ACL(
        principal=right.principal,
        host="*",
        operation=ACLOperation[words.get(right.operation, right.operation.upper())],
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(
            ResourceType[right.resource.upper()], right.name, pattern_type=ACLResourcePatternType[right.pattern.upper()]
        ),
    )


def run(settings: Path, *words: str, stdin: str = "") -> Result:
    """A command with these settings.  No secret is in what it says."""
    done = CliRunner().invoke(main, ["--settings", str(settings), *words], input=stdin)
    assert "secret-of-" not in done.output + repr(done.exception)
    return done


# --- to come in -------------------------------------------------------------------------------------------------------------------

REACHED: dict[str, tuple[str, dict[str, Any]]] = {
    "tls": ("TLS", {}),
    "a certificate": ("MTLS", {"certificate_file": "admin.crt", "key_file": "admin.key"}),
    "SCRAM-SHA-512": ("SASL", {"user": "worker", "password_file": "worker.password"}),
    "SCRAM-SHA-256": ("SASL", {"user": "worker", "password": secret("worker"), "sasl_mechanism": "SCRAM-SHA-256"}),
    "PLAIN": ("SASL", {"user": "plainuser", "password": "plain-secret", "sasl_mechanism": "PLAIN"}),
    "without TLS, on this machine": ("CLEAR", {"user": "worker", "password": secret("worker"), "security_protocol": "sasl_plaintext"}),
}


def reach(broker: SecureBroker, listener: str, fields: dict[str, Any]) -> KafkaSettings:
    """Settings; files are those of the broker's folder."""
    files = {name: broker.folder / value if name.endswith("_file") else value for name, value in fields.items()}
    return broker.settings(listener, **files)


@pytest.mark.parametrize(("listener", "fields"), REACHED.values(), ids=REACHED)
def test_a_client_comes_in(broker: SecureBroker, listener: str, fields: dict[str, Any]) -> None:
    """By each way that settings offer."""
    admin = client(KafkaAdminClient, reach(broker, listener, fields))
    try:
        assert admin.describe_cluster()["brokers"]
    finally:
        admin.close()


REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "another authority": ("TLS", {"ca_file": "other/other.pem"}, "certificate verify failed", "kafka.ca_file"),
    "another host name": ("TLS", {"bootstrap_servers": "localhost"}, "Hostname mismatch", "kafka.bootstrap_servers"),
    "no certificate": ("MTLS", {}, "no TLS", "kafka.certificate_file"),
    "a certificate of another authority": (
        "MTLS",
        {"certificate_file": "other/eve.crt", "key_file": "other/eve.key"},
        "no TLS",
        "kafka.key_file",
    ),
    "a wrong password": ("SASL", {"user": "worker", "password": "secret-of-eve"}, "refuses the user worker", "kafka.password_file"),
    "an unknown user": ("SASL", {"user": "eve", "password": "secret-of-eve"}, "refuses the user eve", "kafka.user"),
    "another mechanism": (
        "SASL",
        {"user": "worker", "password": secret("worker"), "sasl_mechanism": "PLAIN"},
        "PLAIN",
        "kafka.sasl_mechanism",
    ),
    "TLS where there is none": ("CLEAR", {"ca_file": "authority.pem"}, "no TLS", "kafka.security_protocol"),
}


@pytest.mark.parametrize(("listener", "fields", "why", "advice"), REFUSED.values(), ids=REFUSED)
def test_who_is_refused_learns_why_at_once(broker: SecureBroker, listener: str, fields: dict[str, Any], why: str, advice: str) -> None:
    """The client alone would try for its whole patience, and then say that nobody answered."""
    other = broker.folder / "other"
    if not other.is_dir():
        other.mkdir()
        Authority(other, "other").issue("eve")
    if "bootstrap_servers" in fields:
        fields = {**fields, "bootstrap_servers": broker.address(listener).replace(HOST, fields["bootstrap_servers"])}
    began = time.monotonic()
    with pytest.raises(ConfigError, match=why) as caught:
        client(KafkaAdminClient, reach(broker, listener, fields), bootstrap_timeout_ms=CLIENT_MS)
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert advice in caught.value.advice
    assert "secret-of-eve" not in f"{caught.value} {caught.value.advice}"


def test_a_command_says_it_too(broker: SecureBroker, file_of: Callable[..., Path]) -> None:
    """Exit 2, what is wrong and what to do, without the secret."""
    (broker.folder / "wrong.password").write_text("secret-of-eve\n")
    done = run(file_of("worker", password_file=str(broker.folder / "wrong.password")), "topics", "list")
    assert done.exit_code == 2
    assert "refuses the user worker by SCRAM-SHA-512" in done.stderr
    assert "kafka.password_file" in done.stderr


def test_plain_words_to_a_broker_with_tls(broker: SecureBroker) -> None:
    """The most frequent mistake of all costs a client's patience, and is then told as what it is."""
    with pytest.raises(ConfigError, match="speaks TLS, and we do not") as caught:
        client(KafkaAdminClient, KafkaSettings(bootstrap_servers=broker.address("TLS")), bootstrap_timeout_ms=1000)
    assert "kafka.ca_file" in caught.value.advice


def test_up_finds_servers_that_ask_for_accounts(broker: SecureBroker, file_of: Callable[..., Path]) -> None:
    """`trainwatch up` starts nothing beside them."""
    said: list[str] = []
    embedded.up(load(file_of("worker")), say=said.append)
    assert [line.partition(":")[0] for line in said if line.endswith("answers; nothing to start")] == ["kafka", "clickhouse"]


# --- ClickHouse -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"ca_file": "authority.pem"}, {"verify": False}], ids=["its authority", "unverified"])
def test_clickhouse_by_tls(broker: SecureBroker, proxy: TlsProxy, fields: dict[str, Any]) -> None:
    """With the authority that signed its certificate; without, when the site wants it so."""
    known = {name: broker.folder / value if name == "ca_file" else value for name, value in fields.items()}
    with Database(ClickHouseSettings(host=HOST, port=proxy.port, secure=True, **known)) as database:
        assert database.query("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        pytest.param({}, "clickhouse.ca_file", id="the system's authorities"),
        pytest.param({"host": "localhost", "ca_file": "authority.pem"}, "clickhouse.host", id="another host name"),
    ],
)
def test_clickhouse_that_nobody_vouches_for(broker: SecureBroker, proxy: TlsProxy, fields: dict[str, Any], advice: str) -> None:
    """Is not talked to: whoever answers would get all log lines."""
    known = {name: broker.folder / value if name == "ca_file" else value for name, value in fields.items()}
    settings = ClickHouseSettings.model_validate({"host": HOST, "port": proxy.port, "secure": True, **known})
    with Database(settings) as database, pytest.raises(ConfigError, match="certificate verify failed") as caught:
        database.query("SELECT 1")
    assert advice in caught.value.advice


# --- the pipeline with the least rights -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worked(granted: Settings, broker: SecureBroker, file_of: Callable[..., Path]) -> Settings:
    """A worker with its own account alone has taken all that an operator sent, and has stopped in order."""
    migrated = run(file_of("worker"), "migrate")
    assert migrated.exit_code == 0, migrated.output
    rows = "".join(ROW.format(job) for job in range(48_000, 48_000 + JOBS))
    sent = run(file_of("operator"), "bootstrap", "--taken", "2026-03-02T00:00:00Z", stdin=rows)
    assert sent.exit_code == 0, sent.output
    command = [sys.executable, "-m", "pipeline", "--settings", str(file_of("worker")), "worker", "--instance-id", "w1"]
    log = broker.folder / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with Database(granted.clickhouse) as database:
            while database.query("SELECT uniqExact(_offset) FROM {db}.events") != [(JOBS,)]:
                assert worker.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < deadline, log.read_text()[-4000:]
                time.sleep(0.2)
        worker.terminate()
        assert worker.wait(PATIENCE_SECONDS) == 0, log.read_text()[-4000:]
    finally:
        worker.kill()
        worker.wait()
    said = log.read_text()
    assert "secret-of-" not in said
    assert "uthorizationFailed" not in said, said[-4000:]
    return granted


def test_the_worker_needs_no_more(worked: Settings, file_of: Callable[..., Path]) -> None:
    """Everything it took is written, once, and committed under its group; an investigator can tell."""
    done = run(file_of("investigator"), "verify", "--json")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("sealing", [False, True], ids=["nothing is sealed", "sealing"])
def test_check_holds_with_no_more(worked: Settings, broker: SecureBroker, file_of: Callable[..., Path], sealing: bool) -> None:
    """As the worker; who seals without the right to write what is sealed is told."""
    path = file_of("worker")
    if sealing:
        make_key(broker.folder / "evidence.key", 0)
        path.write_text(path.read_text() + yaml.safe_dump({"evidence": {"key_file": str(broker.folder / "evidence.key")}}))
    done = run(path, "check", "--json")
    lines = json.loads(done.stdout)["lines"]
    assert [line["found"] for line in lines if line["mark"] == "fail"] == (["this account may not WRITE"] if sealing else []), lines
    assert done.exit_code == int(sealing)


@pytest.mark.parametrize("account", [name for name, each in ACCOUNTS.items() if each.kafka and name != "worker"])
def test_check_holds_for_each_account(worked: Settings, file_of: Callable[..., Path], account: str) -> None:
    """As itself, its own group too; and an investigator may too little for a worker."""
    path = file_of(account)
    done = run(path, "check", "--as", account, "--json")
    assert done.exit_code == 0, done.stdout
    marks = {line["what"]: line["mark"] for line in json.loads(done.stdout)["lines"] if line["area"] == "kafka"}
    assert len(marks) > 3
    if account == "investigator":
        done = run(path, "check", "--json")
        assert done.exit_code == 1
        assert "this account may not" in done.stdout


def test_tools_need_no_more(worked: Settings, file_of: Callable[..., Path]) -> None:
    """An investigator sees topics, dead letters and records."""
    topic = worked.kafka.scheduler_topics[0]
    for words in (("topics", "list"), ("dlq", "list"), ("sniff", "--topic", topic)):
        done = run(file_of("investigator"), *words)
        assert done.exit_code == 0, (words, done.output)


def test_sizes_that_are_not_told_are_not_taken_for_room(granted: Settings, broker: SecureBroker, file_of: Callable[..., Path]) -> None:
    """Brokers tell an investigator no sizes, and no error: what a bound by size may have deleted would be called lost."""
    topic, at = build_topology(granted).public_topic(DEAD_LETTER), 1_772_451_641_000
    with broker.admin() as admin:
        admin.alter_configs([ConfigResource("topic", topic, {"retention.bytes": "1000000000", "retention.ms": "-1"})])
        producer = client(KafkaProducer, load(file_of("operator")).kafka)
        for number in range(2):
            producer.send(topic, b"?", partition=0, timestamp_ms=at + number)
        producer.close()
        admin.delete_records({TopicPartition(topic, 0): 1})
    with Letters(load(file_of("investigator")).kafka) as letters:
        assert letters.sighted({}).kept_from == at + 1


def test_others_read_what_is_published(worked: Settings, file_of: Callable[..., Path]) -> None:
    """A reader under a group named after the topic, the notifier under its own."""
    topic = build_topology(worked).public_topic("findings")
    for role, name in (("reader", f"{topic}.alerts"), ("notifier", worked.kafka.group + GROUP_SUFFIX)):
        consumer = client(KafkaConsumer, load(file_of(role)).kafka, group_id=name, auto_offset_reset="earliest")
        try:
            group = Group(consumer, [topic])
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not consumer.assignment():
                assert time.monotonic() < deadline
                group.poll(0.1)
            consumer.commit()
        finally:
            consumer.close()


def send(kafka: KafkaSettings, topic: str) -> None:
    producer = client(KafkaProducer, kafka, acks=1, enable_idempotence=False)
    try:
        producer.send(topic, b"forged", partition=0).get(PATIENCE_SECONDS)
    finally:
        producer.close()


def fetch(kafka: KafkaSettings, topic: str, group: str | None = None) -> None:
    consumer = client(KafkaConsumer, kafka, group_id=group, auto_offset_reset="earliest")
    try:
        if group is None:
            consumer.beginning_offsets([TopicPartition(topic, 0)])
            consumer.assign([TopicPartition(topic, 0)])
        else:
            consumer.subscribe([topic])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            consumer.poll(timeout_ms=200)
    finally:
        consumer.close()


def alter(admin: Any, topic: str) -> None:
    answers = admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "1000"})])
    for refused in (answer for by_name in answers.values() for answer in by_name.values() if answer):
        raise refused if isinstance(refused, BaseException) else AuthorizationError(str(refused))


def administer(kafka: KafkaSettings, what: Callable[[Any], object]) -> None:
    admin = client(KafkaAdminClient, kafka)
    try:
        what(admin)
    finally:
        admin.close()


# By role, what it may not do.
DENIED: dict[str, dict[str, Callable[[KafkaSettings], None]]] = {
    "worker": {
        "writes an input": lambda kafka: send(kafka, kafka.training_topics[0]),
        "writes elsewhere": lambda kafka: send(kafka, OTHER),
        "reads elsewhere": lambda kafka: fetch(kafka, OTHER),
        "reads sealed records": lambda kafka: fetch(kafka, f"{kafka.topic_prefix}evidence.v1"),
        "joins another group": lambda kafka: fetch(kafka, kafka.training_topics[0], "somebody"),
        "makes a topic": lambda kafka: administer(kafka, lambda admin: admin.create_topics([NewTopic("new", 1, 1)])),
        "deletes a topic": lambda kafka: administer(kafka, lambda admin: admin.delete_topics([f"{kafka.topic_prefix}findings.v1"])),
        "changes a topic": lambda kafka: administer(kafka, lambda admin: alter(admin, f"{kafka.topic_prefix}findings.v1")),
    },
    "shipper": {
        "reads": lambda kafka: fetch(kafka, kafka.training_topics[0]),
        "forges a fact": lambda kafka: send(kafka, f"{kafka.topic_prefix}facts.job.v1"),
    },
    "reader": {
        "reads dead letters": lambda kafka: fetch(kafka, f"{kafka.topic_prefix}dead-letter.v1"),
        "joins the workers": lambda kafka: fetch(kafka, f"{kafka.topic_prefix}findings.v1", kafka.group),
    },
    "investigator": {
        "writes": lambda kafka: send(kafka, f"{kafka.topic_prefix}findings.v1"),
    },
    "operator": {
        "forges a finding": lambda kafka: send(kafka, f"{kafka.topic_prefix}findings.v1"),
    },
    STRANGER: {
        "reads": lambda kafka: fetch(kafka, f"{kafka.topic_prefix}findings.v1"),
    },
}


@pytest.mark.parametrize("role", DENIED)
def test_more_is_denied(granted: Settings, file_of: Callable[..., Path], role: str) -> None:
    """By the broker, whatever the client is."""
    kafka = load(file_of(role)).kafka
    allowed = []
    for name, act in DENIED[role].items():
        try:
            act(kafka)
        except AuthorizationError:
            continue
        allowed.append(name)
    assert allowed == []


def test_who_has_no_rights_is_told_how_to_get_them(granted: Settings, file_of: Callable[..., Path]) -> None:
    """The worker's own command names the command that prints the rights; topics that it may not see look as if they were not there."""
    done = run(file_of(STRANGER), "sniff", "--topic", granted.kafka.training_topics[0])
    assert done.exit_code == 2
    done = run(file_of("reader"), "topics", "create")
    assert done.exit_code == 2
    assert "trainwatch topics acl" in done.stderr


def test_settings_hide_what_is_secret(file_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what comes from the environment."""
    path = file_of("worker", password_file=None)
    monkeypatch.setenv("TRAINWATCH_KAFKA__PASSWORD", secret("worker"))
    assert os.environ["TRAINWATCH_KAFKA__PASSWORD"]
    for words in (("settings",), ("settings", "--json"), ("topics", "list")):
        assert run(path, *words).exit_code in (0, 3)


def test_state_is_saved_and_put_back_by_the_worker_s_account(worked: Settings, broker: SecureBroker, file_of: Callable[..., Path]) -> None:
    """It reads and writes it anyway."""
    saved = broker.folder / "state.tw"
    for words in (("save", str(saved)), ("restore", str(saved), "--yes")):
        done = run(file_of("worker"), "state", *words)
        assert done.exit_code == 0, (words, done.output)


def test_a_notifier_ends_soon_though_kafka_says_nothing(worked: Settings, broker: SecureBroker, file_of: Callable[..., Path]) -> None:
    """A service manager that waits half a minute need not kill it: neither its questions nor its farewell outlast a few seconds."""
    path, group = file_of("notifier"), worked.kafka.group + GROUP_SUFFIX
    told = {
        "targets": [{"name": "oncall", "url": "http://127.0.0.1:9/"}],
        "state_file": str(broker.folder / "notify.sqlite"),
        "health_port": 0,
    }
    path.write_text(path.read_text() + yaml.safe_dump({"notify": told}))
    log = broker.folder / "notifier.log"
    with log.open("wb") as out:
        notifier = subprocess.Popen([sys.executable, "-m", "pipeline", "--settings", str(path), "notify"], cwd=ROOT, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with broker.admin() as admin:
            while (found := admin.describe_groups([group])[group])["group_state"] != "Stable" or not found["members"]:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        with broker.silent():
            notifier.terminate()
            assert notifier.wait(SERVICE_SECONDS) == 0, log.read_text()
    finally:
        notifier.kill()
        notifier.wait()
