"""Health of a worker on the real broker and the real ClickHouse: what it says of itself, when it ends itself, how soon it is back."""

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from kafka import KafkaAdminClient, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from pipeline.faults.born import Born
from pipeline.runtime.app import FETCH_WAIT_MS
from pipeline.runtime.retention import seconds_by_topic
from pipeline.runtime.watchdog import EXIT_STUCK
from pipeline.settings import Settings
from tests.integration.site import Site, open_site
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

LONG_SESSION_SECONDS = 600.0  # far longer than any wait here: who waits for the session of a dead worker does not come back in time
QUICK: dict[str, object] = {"unhealthy_seconds": 3.0, "stuck_seconds": 600.0}


@pytest.fixture
def site(servers: Settings, tmp_path: Path) -> Iterator[Site]:
    with open_site(servers, tmp_path) as site:
        yield site


class Watched:
    """A worker process, and what it says over HTTP."""

    def __init__(self, site: Site, *, fault: str = "", session_seconds: float | None = None, **worker: object) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1] % 30_000 + 20_000
        spec = site.spec(fault=fault)
        if session_seconds is not None:
            longer = site.settings.kafka.model_copy(update={"session_timeout_seconds": session_seconds})
            spec.settings["kafka"] = longer.model_dump(mode="json")
        spec.settings["worker"] = {**QUICK, "instance_id": "w1", "health_port": self.port, **worker}
        words = [msgspec.json.encode(spec).decode()]
        log = site.folder / f"worker-{len(site.workers)}.log"
        self.process = Born("tests.integration.health_worker", words, os.environ, log)
        self.number = len(site.workers)
        site.workers.append(self.process)
        self._site = site

    def log(self) -> str:
        return self._site.log(self.number)

    def url(self) -> str:
        """Where it serves, from its log: the port asked for may have been taken meanwhile."""
        return next((word.removesuffix("/healthz") for word in self.log().split() if word.endswith("/healthz")), "")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while it does not serve."""
        if not self.url():
            return 0, ""
        try:
            with urllib.request.urlopen(self.url() + path, timeout=10) as answer:  # noqa: S310  it is http
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def reasons(self, path: str = "/healthz") -> str:
        """Why not; empty when it is well."""
        status, body = self.get(path)
        if not status:
            return "no answer"
        found = "; ".join(json.loads(body)["reasons"])
        assert (status == 200) == (not found)
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum over the samples with these labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_SECONDS)


def moved(site: Site) -> Callable[[], bool]:
    """Has a checkpoint ended since?"""
    query = "SELECT count() FROM {db}.sink_ranges"
    before = site.database.query(query)
    return lambda: site.database.query(query) != before


def test_metrics_agree_with_what_was_sent(site: Site) -> None:
    """Records, bytes and outcomes are exact, and the gauges come to rest when all is read."""
    worker = Watched(site)
    site.until(worker.ready, "readiness")
    site.send(500)
    site.until(site.done, "the end of the input")
    values = [value for records in site.truth.values() for value in records]
    counted = {
        code: sum(worker.metric("trainwatch_outcomes_total", stage="ingest", topic=topic, code=code) for topic in site.topics)
        for code in ("written", "decode_error", "nothing_to_keep")
    }
    bad, skipped = (sum(value.startswith(word) for value in values) for word in ("bad,", "skip,"))
    assert counted == {"written": 500 - bad - skipped, "decode_error": bad, "nothing_to_keep": skipped}
    assert worker.metric("trainwatch_records_total", stage="ingest") == 500
    assert worker.metric("trainwatch_record_bytes_total", stage="ingest") == sum(map(len, values))
    assert worker.metric("trainwatch_dead_letters_total") == bad
    assert worker.metric("trainwatch_sink_rows_total", table="events") == 500 - bad - skipped
    site.until(lambda: worker.metric("trainwatch_partitions") == 6, "the snapshot")
    site.until(lambda: worker.metric("trainwatch_watermark_lag_seconds", stage="ingest", family="training") > 0, "a look behind the input")
    assert worker.metric("trainwatch_consumer_lag_records") == 0
    assert worker.metric("trainwatch_state_bytes", stage="counts") > 0
    assert worker.metric("trainwatch_checkpoint_step_seconds_count", step="inserted") > 0
    assert worker.metric("trainwatch_healthy") == worker.metric("trainwatch_ready") == 1
    assert worker.metric("process_resident_memory_bytes") > 1e7
    assert worker.end() == 0, worker.log()


def send_and_delete(site: Site) -> int:
    """Some more records, of which only the last few stay; how many did not."""
    before = {place: len(values) for place, values in site.truth.items()}
    site.send(100)
    cut = {place: len(values) - 3 for place, values in site.truth.items()}
    admin = KafkaAdminClient(bootstrap_servers=site.settings.kafka.bootstrap_servers)
    admin.delete_records({TopicPartition(*place): offset for place, offset in cut.items()})
    admin.close()
    return sum(cut[place] - before[place] for place in cut)


def test_what_retention_took_while_nobody_read_is_counted(site: Site) -> None:
    """However soon the worker has moved on: `verify` says of which offsets, and an alert asks this counter alone."""
    first = Watched(site)
    site.until(first.ready, "readiness")
    site.send(100)
    site.until(site.done, "the first records")
    assert first.end() == 0, first.log()
    lost = send_and_delete(site)
    worker = Watched(site)
    site.until(site.done, "the end of the input")
    site.until(lambda: worker.metric("trainwatch_partitions") == 6, "a look at where partitions stand")
    assert worker.metric("trainwatch_overtaken_records_total") == lost
    assert worker.end() == 0, worker.log()


def test_what_retention_took_under_a_running_worker_is_no_hole(site: Site) -> None:
    """It is told to read on behind what is gone, before it has looked at where the topic begins now."""
    (site.folder / "blind").touch()
    worker = Watched(site)
    site.until(worker.ready, "readiness")
    site.send(100)
    site.until(site.done, "the first records")
    worker.process.send_signal(signal.SIGSTOP)
    site.send(12)
    time.sleep(4 * FETCH_WAIT_MS / 1000)  # the fetch that was under way has its answer, and brings these
    lost = send_and_delete(site)
    worker.process.send_signal(signal.SIGCONT)
    site.until(site.done, "the end of the input")
    gaps = "SELECT sum(hi - lo) FROM {db}.sink_ranges ARRAY JOIN gap_los AS lo, gap_his AS hi, gap_codes AS why WHERE why = 'overtaken'"
    accounted = "SELECT sum(hi - lo - offsets_written - length(listed_offsets)) FROM {db}.sink_ranges"
    assert site.database.query(gaps) == site.database.query(accounted) == [(lost,)]
    assert worker.metric("trainwatch_overtaken_records_total") == lost
    assert worker.end() == 0, worker.log()


def test_a_deaf_sink_makes_the_worker_unwell_but_does_not_end_it(site: Site) -> None:
    """That is backpressure: /healthz says what is away, the process stays beyond its limit, and goes on when the sink is back."""
    worker = Watched(site, stuck_seconds=8.0)
    site.until(worker.ready, "readiness")
    site.send(100)
    site.until(site.done, "the first records")
    site.until(lambda: worker.reasons() == "", "health")
    (site.folder / "deaf").touch()
    site.send(100)
    site.until(lambda: "the sink fails" in worker.reasons(), "ill health")
    assert "nobody listens there" in worker.reasons()
    site.until(lambda: worker.metric("trainwatch_consumer_lag_records") > 0, "a look at the lag")
    assert worker.metric("trainwatch_retention_headroom_records", topic=site.topics[0]) > 0
    time.sleep(16.0)  # twice the limit of a hang: the absence of an exit cannot be waited for otherwise
    assert worker.process.poll() is None, worker.log()
    assert worker.metric("trainwatch_sink_errors_total", code="sink_unavailable") > 0
    (site.folder / "deaf").unlink()
    site.until(site.done, "the rest")
    site.until(lambda: worker.reasons() == "", "recovery")
    assert worker.end() == 0, worker.log()


def test_retention_is_asked_of_the_broker(site: Site) -> None:
    """Of topics that delete by age; an input of the embedded broker keeps all, and an unknown topic tells nothing."""
    facts = f"{site.settings.kafka.topic_prefix}facts.count.v1"
    kept = seconds_by_topic(site.settings.kafka, [facts, site.topics[0], "no-such-topic"])
    assert kept == {facts: 7 * 86_400}


def test_a_blocked_loop_is_reported_and_ends_the_worker(site: Site) -> None:
    """The server still answers, and the traceback names the function that hangs; the next worker finishes the work."""
    worker = Watched(site, stuck_seconds=12.0)
    site.until(worker.ready, "readiness")
    (site.folder / "hang").touch()
    site.send(100)
    site.until(lambda: "the event loop has not turned" in worker.reasons(), "ill health")
    assert worker.process.wait(timeout=PATIENCE_SECONDS) == EXIT_STUCK
    assert "in step_that_hangs" in worker.log()
    assert "stuck: the event loop has not turned" in worker.log()
    (site.folder / "hang").unlink()
    after = Watched(site)
    site.until(site.done, "the end of the input")
    assert after.end() == 0
    site.check_rows()


def test_no_progress_with_lag_ends_the_worker(site: Site) -> None:
    """The loop turns and checkpoints end, and yet nothing is folded: /healthz fails first."""
    worker = Watched(site, stuck_seconds=10.0)
    site.until(worker.ready, "readiness")
    site.until(lambda: worker.reasons() == "", "health")
    (site.folder / "wait").touch()
    site.send(100)
    site.until(lambda: "records to go" in worker.reasons(), "ill health")
    assert worker.process.wait(timeout=PATIENCE_SECONDS) == EXIT_STUCK
    assert "records to go" in worker.log()
    assert "no checkpoint" not in worker.log()


def test_an_idle_worker_is_well_and_heard_on_this_machine_alone(site: Site) -> None:
    """No input, no lag, no complaint; and no port but that of its health, which nobody told it to open to others."""
    worker = Watched(site, stuck_seconds=8.0, unhealthy_seconds=2.0)
    site.until(worker.ready, "readiness")
    listening = [c.laddr for c in psutil.Process(worker.process.pid).net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]
    assert [f"http://{address.ip}:{address.port}" for address in listening] == [worker.url()]
    assert listening[0].ip == "127.0.0.1"
    time.sleep(12.0)  # beyond all limits
    site.until(lambda: worker.reasons() == "", "health, though the machine stood still for a moment")
    assert worker.end() == 0


def test_a_killed_worker_is_back_without_a_rebalance(site: Site) -> None:
    """The restarted process has the same name: the broker gives it its partitions in the same generation, and nobody waits for a session.

    How soon that is (the product promises 15 s) depends on the machine, and is printed; what it must not depend on is the session.
    """
    with site.feeding(per_second=200):
        first = Watched(site, instance_id="auto", session_seconds=LONG_SESSION_SECONDS)
        site.until(first.ready, "readiness")
        site.until(moved(site), "progress")
        first.process.kill()
        first.process.wait()
        killed, again = time.monotonic(), moved(site)
        second = Watched(site, instance_id="auto", session_seconds=LONG_SESSION_SECONDS)
        site.until(again, "progress after the kill")
        took = time.monotonic() - killed
        generations = [re.findall(r"generation (\d+): \d+ partitions taken over", log) for log in (first.log(), second.log())]
        assert generations[0] == generations[1]
        assert len(generations[1]) == 1  # and it was not put out again
        assert second.end() == 0, second.log()
    print(f"killed to next finished range: {took:.1f} s")  # noqa: T201  shown with -s


def test_two_workers_of_a_host_get_names_and_ports_of_their_own(site: Site) -> None:
    """Also when they are told the same port."""
    first = Watched(site, instance_id="auto")
    site.until(first.ready, "readiness")
    spec_port = first.port
    second = Watched(site, instance_id="auto", health_port=spec_port)
    site.until(second.ready, "readiness of the second")
    assert first.url() != second.url()
    assert first.metric("trainwatch_info") == second.metric("trainwatch_info") == 1
    assert [second.end(), first.end()] == [0, 0]


def test_a_name_in_use_on_this_host_is_refused(site: Site) -> None:
    """At once, with the process that has it."""
    first = Watched(site, instance_id="gpu-012-a")
    site.until(first.ready, "readiness")
    second = Watched(site, instance_id="gpu-012-a")
    assert second.process.wait(timeout=PATIENCE_SECONDS) == 1
    assert f"(pid {first.process.pid}) is already instance gpu-012-a" in second.log()
    assert first.end() == 0


def test_the_newcomer_of_two_twins_ends_and_says_why(site: Site) -> None:
    """Under one name on two machines they would put each other out for ever; the work is done by the one that stays."""
    with site.feeding(per_second=100):
        twins = [Watched(site, fault="twin", instance_id="w1") for _ in range(2)]
        site.until(lambda: any(twin.process.poll() is not None for twin in twins), "the end of one")
        left = [twin for twin in twins if twin.process.poll() is None]
        assert any("another live process is instance w1" in twin.log() for twin in twins), [twin.log() for twin in twins]
    for twin in left:
        twin.process.kill()
        twin.process.wait()
    after = Watched(site)
    site.until(site.done, "the end of the input")
    assert after.end() == 0
    site.check_rows()


def test_a_take_over_of_before_an_eviction_counts_for_nothing(site: Site) -> None:
    """A static member that comes back is let in at the generation that it was put out of: what it read then is not what is there now."""
    late, taken, assigned = (site.folder / name for name in ("late", "taken", "assigned"))
    late.touch()
    elder = Watched(site, fault="late")
    site.until(taken.exists, "the end of its reading")
    other = Watched(site, fault="twin")
    with site.feeding(per_second=200):
        site.until(moved(site), "work of the other")
        other.process.kill()
        other.process.wait()
        site.until(lambda: assigned.read_text().count("again") > 1, "its return to the group")
        late.unlink()
        site.until(elder.ready, "readiness")
        site.until(moved(site), "work of the elder")
    site.until(site.done, "the end of the input")
    assert elder.end() == 0, elder.log()
    assert len(re.findall(r"partitions taken over", elder.log())) == 1, elder.log()
    site.check_rows()
