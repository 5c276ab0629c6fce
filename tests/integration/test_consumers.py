"""Who reads the topics: the examples as a reader runs them, and `notify` with a webhook that answers as it is told."""

import hashlib
import hmac
import http.server
import json
import logging
import os
import re
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry

from pipeline.cli import main
from pipeline.runtime import examine, webhook
from pipeline.runtime import notify as notifying
from pipeline.runtime.health import serve
from pipeline.runtime.notify_book import ACK, Book
from pipeline.runtime.soundness import Mark
from pipeline.runtime.webhook import Address
from pipeline.settings import NotifySettings, Settings, TargetSettings
from pipeline.topology import build_topology
from tests.conftest import ROOT
from tests.integration.day import Day
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

EXAMPLES = ROOT / "deploy" / "examples"
WAIT = "15"  # seconds of silence after which an example that follows ends, also before the first word comes
KEY = "key-of-the-test"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up during the handshake is what a test wants."""


class Hook:
    """A webhook on this machine: keeps what came, answers with `answers` in turn, then 200."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.requests.append((dict(self.headers), body))
                status, headers = hook.answers.pop(0) if hook.answers else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  a signature of http.server
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        if context is not None:  # the handshake in the thread of the request, where it may fail
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]


@pytest.fixture
def hook() -> Iterator[Hook]:
    opened = Hook()
    yield opened
    opened.close()


# --- examples ---------------------------------------------------------------------------------------------------------------------


def begun(day: Day, hook: Hook, name: str, *words: str) -> "subprocess.Popen[str]":
    """An example, as its docstring says."""
    environment = {**os.environ, "ALERT_WEBHOOK_URL": hook.url}
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / name), day.settings.kafka.bootstrap_servers, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=EXAMPLES, env=environment)


def test_the_examples_do_what_they_say(day: Day, hook: Hook) -> None:
    """Run side by side as processes of their own, with kafka-python alone."""
    prefix, owner = day.settings.kafka.topic_prefix, next(each["owner"] for each in day.findings if each["attempt"])
    runs = {
        name: begun(day, hook, f"{name}.py", *words)
        for name, words in {
            "follow_findings": (f"{prefix}findings.v1", WAIT),
            "findings_by_id": (f"{prefix}findings.v1",),
            "incidents_by_id": (f"{prefix}incidents.v1",),
            "alert_webhook": (f"{prefix}findings.v1", WAIT),
            "verdicts_of_owner": (owner, f"{prefix}verdicts.v1"),
            "count_dead_letters": (f"{prefix}dead-letter.v1",),
        }.items()
    }
    said = {}
    for name, run in runs.items():
        out, errors = run.communicate(timeout=PATIENCE_SECONDS)
        assert run.returncode == 0, f"{name}: {errors}"
        said[name] = out.splitlines()

    standing = [each for each in day.findings if each["status"] != "retracted"]
    assert len(said["follow_findings"]) == sum(word.content == "findings" for word in day.published)
    about = {each["id"]: f"{each['detector']}  {each['subject'][0]} {each['subject'][2]}  " for each in standing}
    assert all(any(words in line for line in said["follow_findings"]) for words in about.values())
    by_id = {found["id"]: found["status"] for found in map(json.loads, said["findings_by_id"])}
    assert by_id == {each["id"]: each["status"] for each in standing}
    incidents = {found["id"]: found for found in map(json.loads, said["incidents_by_id"])}
    told = [msgspec.json.decode(word.value)["unmapped"]["trainwatch"] for word in day.published if word.content == "incidents"]
    last = {word["canonical"]["id"]: word["canonical"] for word in told}
    assert {key: (each["status"], each["findings"], each["named"]) for key, each in incidents.items()} == {
        key: (body["status"], body["findings"], body["attribution"]["named"]) for key, body in last.items() if body["status"] != "retracted"
    }
    assert {body["id"] for body in hook.bodies()} == {each["id"] for each in standing if each["alert"]}
    assert len(hook.requests) == len({body["id"] for body in hook.bodies()})
    verdicts = {}
    for word in day.published:
        if word.content == "verdicts":
            body = msgspec.json.decode(word.value)["canonical"]
            verdicts[body["id"]] = body
    ends = Counter((body["verdict"], body["cause"]) for body in verdicts.values() if body["owner"] == owner)
    assert {(verdict, cause): int(count) for count, verdict, cause in map(str.split, said["verdicts_of_owner"])} == dict(ends)
    assert said["count_dead_letters"]
    assert {line.split()[1] for line in said["count_dead_letters"]} <= {"decode_error", "unknown_format", "schema_mismatch"}


# --- notify -----------------------------------------------------------------------------------------------------------------------


def settings_of(day: Day, hook: Hook, group: str, folder: Path, *, more: Sequence[TargetSettings] = (), **changes: Any) -> Settings:
    """The day's, with a target and a group of this test's own."""
    (folder / "url").write_text(hook.url)
    (folder / "key").write_text(KEY)
    target = TargetSettings(name="oncall", url_file=folder / "url", secret_file=folder / "key", **changes)
    notify = NotifySettings(targets=(target, *more), state_file=folder / "notify.sqlite", backoff_seconds=0.01, tries_max=3)
    kafka = day.settings.kafka.model_copy(update={"group": f"{day.settings.kafka.group}.{group}"})
    return day.settings.model_copy(update={"kafka": kafka, "notify": notify})


def run(settings: Settings, said: list[str], rounds: int = 2 * round(PATIENCE_SECONDS)) -> notifying.Round:
    """Rounds until all is taken and nothing is due; answers with the sums."""
    total = notifying.Round()
    with Book(settings.notify.state_file) as book, notifying.Notifier(settings, book, said.append) as notifier:
        for _ in range(rounds):
            done = notifier.round(0.5)
            total = notifying.Round(*(one + other for one, other in zip(total, done, strict=True)))
            if notifier.caught_up() and not any(done) and not book.due(settings.notify, notifying.now_ms() + 60_000):
                assert counted(notifier.metrics.registry) == total
                return total
    raise AssertionError(f"not caught up in {rounds} rounds: {total}, {said[-5:]}")


def counted(registry: CollectorRegistry) -> notifying.Round:
    """The same of its metrics."""
    sums: Counter[str] = Counter()
    for family in registry.collect():
        for sample in family.samples:
            sums[sample.labels.get("outcome", "") if sample.name.endswith("_total") else sample.name] += int(sample.value)
    assert sums["trainwatch_notify_lag_records"] == 0
    return notifying.Round(sums["taken"], sums["passed_over"], sums["told"], sums["failed"])


def test_each_finding_and_incident_is_told_once_and_signed(day: Day, hook: Hook, tmp_path: Path) -> None:
    """Also over a restart; what failed is tried again with the same id and bytes; the receiver can check who wrote it."""
    said: list[str] = []
    settings = settings_of(day, hook, "once", tmp_path)
    hook.answers = [(500, {}), (302, {"Location": hook.url + "/elsewhere"})]
    total = run(settings, said)
    told = [json.loads(body) for _, body in hook.requests[2:]]
    expected = {each["id"] for each in day.findings if each["alert"] and each["status"] != "retracted"}
    assert {body["id"] for body in told if body["kind"] == "finding"} == expected
    assert any(body["kind"] == "incident" for body in told)
    assert (total.failed, total.told, total.refused) == (2, len(told), 0)
    assert any("redirects are not followed" in line for line in said)
    failed = [(headers["X-Trainwatch-Id"], body) for headers, body in hook.requests[:2]]
    again = [(headers["X-Trainwatch-Id"], body) for headers, body in hook.requests[2:]]
    assert set(failed) <= set(again)
    assert len(again) == len({name for name, _ in again})
    for headers, body in hook.requests:
        signed = hmac.new(KEY.encode(), headers["X-Trainwatch-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert headers["X-Trainwatch-Signature"] == f"v1={signed}"

    [line] = [line for line in examine.kafka(settings, build_topology(settings), notifying.now_ms) if line.what == "notifier"]
    assert (line.mark, line.found) == (Mark.WARN, "none runs, 0 values behind")
    before = len(hook.requests)
    assert run(settings, said).told == 0
    assert len(hook.requests) == before
    # Without the offsets of the group all is read again, and still nobody is told twice.
    elsewhere = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"group": settings.kafka.group + ".again"})})
    assert run(elsewhere, said).taken > 0
    assert len(hook.requests) == before


@contextmanager
def closing_server(notifier: notifying.Notifier) -> Iterator[str]:
    """Its metrics over HTTP, as `trainwatch notify` serves them."""
    server = serve(notifier.metrics, notifier.metrics, "127.0.0.1", 29_440, logging.getLogger("test"), "notify.health_port")
    assert server is not None
    yield server.url
    server.close()


def test_what_nobody_acknowledges_goes_to_the_next(day: Day, hook: Hook, tmp_path: Path) -> None:
    """Critical ones after no time here, unless somebody works on them; a target that is away holds up nobody."""
    said: list[str] = []
    lead = TargetSettings(name="lead", url=f"{hook.url}/lead", after_minutes={"critical": 15}, severity_min="critical")
    away = TargetSettings(name="away", url="http://127.0.0.1:9/")
    settings = settings_of(day, hook, "escalate", tmp_path, more=(lead, away))
    total = run(settings, said)
    assert total.failed == 3 * total.told  # tries_max of everything that the one that is away should have got
    assert sum("given up" in line for line in said) == total.told
    critical = {each["id"] for each in day.findings if each["severity"] == "critical" and each["alert"]}
    assert critical
    hook.requests.clear()
    later = notifying.now_ms() + 16 * 60_000
    with Book(settings.notify.state_file) as book, notifying.Notifier(settings, book, said.append) as notifier:
        due = {each.word.notice.id for each in book.due(settings.notify, later) if each.target.name == "lead"}
        assert due >= critical
        for acknowledged in due - critical:
            book.answer(acknowledged, now=later, account="u101@ops", action=ACK)
        assert (notifier.tell(later, lambda: True), hook.requests) == ((0, 0), [])  # who is to end begins no delivery
        notifier.tell(later)
        notifier.metrics.waits(book.undelivered(settings.notify, later), later)
        with closing_server(notifier) as url, urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_SECONDS) as answer:  # noqa: S310  of ours
            page = answer.read().decode()
    waiting = {
        name: float(value) for name, value in re.findall(r'^trainwatch_notify_oldest_seconds{target="(.+)"} (.+)$', page, re.MULTILINE)
    }
    assert (waiting["oncall"], waiting["lead"]) == (0, 0)
    assert waiting["away"] > 15 * 60
    assert {body["id"] for body in hook.bodies()} == critical
    assert {body["escalated_minutes"] for body in hook.bodies()} == {15}


def test_people_answer_by_command(day: Day, hook: Hook, tmp_path: Path) -> None:
    """Told by `--once`, acknowledged, snoozed, listed; a test notice says that it is one.

    What cannot be told makes the exit code 3; what a second try told does not.
    """
    path, settings = tmp_path / "trainwatch.yaml", settings_of(day, hook, "commands", tmp_path)
    kafka = settings.kafka.model_dump(mode="json", include={"bootstrap_servers", "topic_prefix", "group"})
    path.write_text(yaml.safe_dump({"kafka": kafka, "notify": settings.notify.model_dump(mode="json", exclude={"urls", "secrets"})}))

    def trainwatch(*words: str) -> Result:
        return CliRunner(env={"COLUMNS": "250"}).invoke(main, ["--settings", str(path), "notify", *words])

    assert (trainwatch("test", "oncall").exit_code, hook.bodies()[-1]["title"]) == (0, "test of trainwatch notify")
    hook.requests.clear()
    assert trainwatch("--once").exit_code == 0
    told = {body["id"] for body in hook.bodies()}
    finding = next(each["id"] for each in day.findings if each["severity"] == "critical")
    assert finding in told
    acknowledged = trainwatch("ack", finding[:10], "--note", "with u002")
    assert (acknowledged.exit_code, acknowledged.stdout.split(":")[0]) == (0, finding)
    assert trainwatch("snooze", next(iter(told - {finding}))[:12], "4h").exit_code == 0
    listed = {row["notice"]["id"]: row for row in map(json.loads, trainwatch("list", "--json").stdout.splitlines())}
    assert listed.keys() >= told
    assert listed[finding]["acknowledged_by"]
    assert sum(row["snoozed_until"] > 0 for row in listed.values()) == 1
    assert finding not in trainwatch("list", "--json", "--open").stdout
    assert finding[:12] in trainwatch("list").stdout
    for words, code in ((("ack", "0123456789"), 4), (("ack", "x"), 2), (("snooze", finding, "soon"), 2), (("test", "nobody"), 2)):
        assert trainwatch(*words).exit_code == code, words
    for refusals, code in ((1, 0), (100, 3)):
        hook.answers = [(500, {})] * refusals
        (tmp_path / "notify.sqlite").unlink()
        kafka["group"] += ".again"
        path.write_text(yaml.safe_dump({"kafka": kafka, "notify": settings.notify.model_dump(mode="json", exclude={"urls", "secrets"})}))
        done = trainwatch("--once")
        assert done.exit_code == code, done.stderr
        assert "tried again later" in done.stderr


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, signed by itself, valid now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook of a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM))
    return path


def test_a_webhook_whose_certificate_nobody_trusts_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one with another name; a site names its own authority by SSL_CERT_FILE."""
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    secure = Hook(context)
    try:
        port = int(secure.url.rpartition(":")[2].split("/")[0])
        refused = webhook.post(Address(True, "127.0.0.1", port, "/"), {}, b"{}", timeout_seconds=PATIENCE_SECONDS)
        assert (refused.taken, refused.why) == (False, "no answer: SSLCertVerificationError")
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        misnamed = webhook.post(Address(True, "localhost", port, "/"), {}, b"{}", timeout_seconds=PATIENCE_SECONDS)
        assert (misnamed.taken, misnamed.why) == (False, "no answer: SSLCertVerificationError")
        assert secure.requests == []
        assert webhook.post(Address(True, "127.0.0.1", port, "/"), {}, b"{}", timeout_seconds=PATIENCE_SECONDS).taken
        assert len(secure.requests) == 1
    finally:
        secure.close()


def test_a_receiver_that_asks_for_time_is_heard(hook: Hook) -> None:
    """Retry-After in seconds; anything else in it is passed over."""
    host, port = hook.url.removeprefix("http://").split("/")[0].split(":")
    address = Address(False, host, int(port), "/")
    hook.answers = [(429, {"Retry-After": "7"}), (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), (204, {})]
    answers = [webhook.post(address, {}, b"{}", timeout_seconds=PATIENCE_SECONDS) for _ in range(3)]
    assert [(each.taken, each.retry_after_seconds) for each in answers] == [(False, 7.0), (False, 0.0), (True, 0.0)]
