"""Log files of a node in, a finding out, with the shippers that sites run: rsyslog and syslog-ng with the configuration of deploy/shippers.

A colleague kills a rank of somebody else's job.  The node's audit log, the controller's log and the job's output are files that the
daemon follows; the kernel's lines come by the system's log socket.  Slurm sends its own records.  The story lies four hours back: the
daemon was down and catches up, while the audit log is rotated under it.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import orjson
import pytest
import yaml

from pipeline.model.outcome import Record
from pipeline.runtime import replay
from pipeline.runtime.following import caught_up
from pipeline.runtime.sampling import newest
from pipeline.settings import Settings
from tests import build
from tests.integration import shippers
from tests.integration.shippers import Daemon, Host
from tests.integration.test_pipeline import Site, in_memory, open_site
from tests.patience import PATIENCE_SECONDS
from tests.scenario.lines import Line, ship
from tests.scenario.test_scenarios import FOLDER, lines_of

pytestmark = pytest.mark.servers

KERN_INFO, USER_INFO = 6, 14
BACK_SECONDS = 4 * 3600
LONG = "Traceback: " + "x" * 100_000  # beyond what both daemons cut lines to unless told otherwise


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """All lines, in order of time, four hours ago."""
    monkeypatch.setattr(build, "T0", (int(time.time()) - BACK_SECONDS) * 1000)
    told = yaml.safe_load((FOLDER / "foreign_kill.yaml").read_text(encoding="utf-8"))
    return sorted(lines_of(told), key=lambda line: line.at)


@pytest.fixture
def site(servers: Settings, tmp_path: Path) -> Iterator[Site]:
    content = build.settings().model_dump(mode="json", include={"identities", "artefact_roots"})
    with open_site(servers, tmp_path, content) as site:
        yield site


def write(host: Host, story: list[Line]) -> list[Line]:
    """What the daemon reads; answers with the lines that come to Kafka otherwise."""
    others = []
    for line in story:
        if line.source in host.files:
            host.write(line.source, line.text)
        elif line.source == "kernel":
            stamp = datetime.fromtimestamp(build.ms(line.at) / 1000, UTC).strftime("%b %e %H:%M:%S")
            host.log(KERN_INFO, f"{stamp} {line.text.split(' ', 2)[2]}")
        else:
            others.append(line)
    return others


def run(daemon: Daemon, site: Site, story: list[Line], host: Host) -> tuple[list[Record], list[Record]]:
    """What the daemon has sent once all is there, and what Slurm sends."""
    half = len(story) // 2
    with shippers.running(daemon, host):
        others = write(host, story[:half])
        arrived(site, half - len(others))
        host.write("auditd", "type=EOE msg=audit(1772449500.000:9): ")  # the last of its file, which nobody may have read yet
        host.rotate("auditd")
        others += write(host, story[half:])
        host.write("job", LONG)
        host.log(USER_INFO, "Mar  2 00:00:00 kernel: of a user, and none of our business")
        expected = len(story) - len(others) + 2
        found = arrived(site, expected)
    assert len(found) == expected
    assert {record.key for record in found} == {build.HOST.encode()}
    objects = [orjson.loads(record.value or b"") for record in found]
    assert LONG in {each.get("message", each.get("MESSAGE")) for each in objects}
    names = shippers.topics(site.settings)
    return found, [msgspec.structs.replace(record, topic=names[record.topic]) for record in ship(others)]


def arrived(site: Site, count: int) -> list[Record]:
    """All records, once there are so many."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    kafka = site.settings.kafka
    while len(found := [record for topic in kafka.input_topics for record in newest(kafka, topic, 10_000)]) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records came"
        time.sleep(0.2)
    return found


def is_the_story(findings: dict[str, bytes]) -> None:
    """One finding: the colleague, by name, since all sources were heard."""
    [finding] = map(orjson.loads, findings.values())
    assert (finding["detector"], finding["actor"], finding["alert"]) == ("p01_foreign_kill", "u099", True)
    assert {"auditd", "slurm_jobcomp"} <= {item["source"] for item in finding["evidence"]}


def test_rsyslog_to_a_finding(site: Site, story: list[Line], tmp_path: Path) -> None:
    """By the broker and a worker into ClickHouse."""
    host = Host(tmp_path)
    _, others = run(shippers.rsyslog(site.settings, tmp_path, host, build.HOST), site, story, host)
    replay.send(site.settings, others, final=True)
    site.start()
    site.until(lambda: caught_up(site.settings, site.topology).done, "the end of the input")
    is_the_story(site.canonical("findings_current"))


def test_syslog_ng_to_a_finding(site: Site, story: list[Line], tmp_path: Path) -> None:
    """By the broker into the pipeline in memory."""
    host = Host(tmp_path)
    records, others = run(shippers.syslog_ng(site.settings, tmp_path, host, build.HOST), site, story, host)
    is_the_story(in_memory(site.settings, sorted([*records, *others], key=lambda record: record.timestamp)).results.canonical_findings())
