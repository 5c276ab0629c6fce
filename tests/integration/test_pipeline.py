"""The real topology on the real servers: the same findings as in memory, whatever happens to the worker or stands in the records."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from pipeline import settings as settings_module
from pipeline.faults.born import Born
from pipeline.model.outcome import Record
from pipeline.runtime import replay
from pipeline.runtime.admin import Admin
from pipeline.runtime.following import caught_up
from pipeline.runtime.local import LocalRuntime
from pipeline.settings import Settings
from pipeline.simulate import Scale, Week
from pipeline.sink import copied
from pipeline.sink.clickhouse import Database
from pipeline.topology import build_topology
from tests.cluster import Period
from tests.integration.pipeline_worker import Spec
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

SMALL = Scale(gpu_hosts=6, members=10, jobs_per_day=60.0, acts_per_kind=(1, 1))


class Site:
    """Tables, topics and workers of one test."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.topology = build_topology(settings)
        self.database = Database(settings.clickhouse)
        self.workers: list[Born] = []
        copied.make(self.database)
        with Admin(settings, self.topology) as admin:
            admin.ensure()
        self.folded = folder / "folded"
        self.folded.touch()

    def start(self, **changes: Any) -> Born:
        spec = Spec(settings=self.settings.model_dump(mode="json"), folded=str(self.folded), **changes)
        spec.settings["clickhouse"] = {**self.settings.clickhouse.model_dump(mode="json"), "password": ""}
        spec.settings["worker"] = {"instance_id": "w1"}
        words = [msgspec.json.encode(spec).decode()]
        worker = Born("tests.integration.pipeline_worker", words, os.environ, self.folder / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    def until(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            log = (self.folder / f"worker-{len(self.workers) - 1}.log").read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, f"{what} not reached\n{log}"
            assert self.workers[-1].poll() is None, f"the worker ended before {what}\n{log}"
            time.sleep(0.25)

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.database.close()

    def canonical(self, table: str) -> dict[str, bytes]:
        """Id -> canonical body, of what was not taken back."""
        column = {"findings_current": "finding_id", "verdicts_current": "verdict_id", "incidents_current": "incident_id"}[table]
        rows = self.database.query(f"SELECT {column}, canonical FROM {{db}}.{table} WHERE status != 'retracted' ORDER BY 1")  # noqa: S608
        return {key: orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS) for key, body in rows}

    def batches(self) -> list[set[tuple[str, str, int]]]:
        """The offsets of each batch that ingest has folded, over all workers."""
        found = []
        for line in self.folded.read_text().splitlines():
            topic, partition, first, last = line.split()
            found.append({(topic, partition, offset) for offset in range(int(first), int(last) + 1)})
        return found


@contextmanager
def open_site(servers: Settings, folder: Path, content: dict[str, Any], **quick: Any) -> Iterator[Site]:
    """A site with the settings of a simulated cluster and short intervals."""
    merged = {
        **servers.model_dump(mode="json", exclude={"identities", "sources", "tickets", "artefact_roots"}),
        **{key: value for key, value in content.items() if key not in ("kafka", "clickhouse", "embedded")},
    }
    merged["clickhouse"] = {**merged["clickhouse"], "password": ""}
    merged["kafka"] = {**merged["kafka"], "partitions": 2}
    merged["checkpoint"] = {"interval_seconds": 0.3}
    for name, change in quick.items():
        merged[name] = {**merged.get(name, {}), **change}
    site = Site(settings_module.Settings.model_validate(_renamed(merged, servers)), folder)
    try:
        yield site
    finally:
        site.close()


def _renamed(content: dict[str, Any], servers: Settings) -> dict[str, Any]:
    """Sources that name a default topic mean this test's own."""
    names = {f"logs.{family}": getattr(servers.kafka, f"{family}_topics")[0] for family in ("training", "scheduler", "access")}
    content["sources"] = [{**source, "topic": names.get(source.get("topic", ""), "")} for source in content.get("sources", ())]
    return content


def as_records(week: Week | Period, settings: Settings) -> list[Record]:
    """The week as shipped, on this test's topics."""
    names = {f"logs.{family}": getattr(settings.kafka, f"{family}_topics")[0] for family in ("training", "scheduler", "access")}
    return [
        Record(
            topic=names[each.topic],
            partition=number,
            offset=0,
            timestamp=each.timestamp,
            value=each.value,
            key=each.key,
            headers=each.headers,
        )
        for number, each in enumerate(week.records)
    ]


def in_memory(settings: Settings, records: Sequence[Record]) -> LocalRuntime:
    local = LocalRuntime(settings)
    for at in range(0, len(records), 2000):
        local.feed(records[at : at + 2000])
        local.checkpoint()
    local.finish()
    return local


def test_a_quiet_cluster_still_gets_its_last_verdict(servers: Settings, tmp_path: Path) -> None:
    """The last job dies, nothing more is logged anywhere, nobody ends the channels: its verdict becomes final."""
    quick = {"idle_seconds": 1, "grace_seconds": 2, "out_of_order_seconds": 1}
    with open_site(servers, tmp_path, {}, time=quick) as site:
        kafka = site.settings.kafka
        start = _job("RUNNING", "2026-03-02T11:00:00", None)
        end = _job("FAILED", "2026-03-02T11:00:00", "2026-03-02T11:05:00")
        last = 1_772_449_500_000
        replay.send(
            site.settings,
            [
                _record(kafka.scheduler_topics[0], start, last - 300_000),
                _record(kafka.scheduler_topics[0], end, last),
                _record(kafka.training_topics[0], b"RuntimeError: CUDA error: unspecified launch failure", last, file="slurm-7001.out"),
            ],
        )
        site.start()
        site.until(lambda: bool(site.database.query("SELECT 1 FROM {db}.verdicts_current WHERE status = 'final'")), "the final verdict")
        found = site.database.query("SELECT job_id, state, verdict, cause FROM {db}.verdicts_current")
        assert found == [("7001", "FAILED", "benign", "app_error")]


def test_bad_input_never_stops_the_worker(servers: Settings, tmp_path: Path) -> None:
    """Binary, a 5 MB line, a wrong zone, truncated JSON, NaN, unknown text, an empty value, a tombstone: counted, and work goes on."""
    now = 1_772_449_500_000
    with open_site(servers, tmp_path, {}) as site:
        kafka = site.settings.kafka
        access, scheduler = kafka.access_topics[0], kafka.scheduler_topics[0]
        bad = {
            "decode_error": [
                _record(scheduler, b'{"jobid": 7, "state": "FAILED"', now),
                _record(scheduler, b'{"jobid": NaN, "state": "FAILED", "exit_code": "1:0"}', now),
            ],
            "unknown_format": [
                _record(access, bytes(range(128, 256)) * 4, now),
                _record(access, b"words that no format knows", now),
            ],
            "record_too_large": [_record(access, b"type=SYSCALL msg=audit(1772449500.000:1): " + b"a" * 5_000_000, now)],
            "empty": [_record(access, b"", now), _record(access, b" \n", now)],
            "tombstone": [msgspec.structs.replace(_record(access, b"", now), value=None)],
            "timestamp_out_of_range": [_record(scheduler, _job("FAILED", "2026-03-09T11:00:00", "2026-03-09T12:00:00"), now)],
        }
        good = _record(
            access, b"type=CRED_ACQ msg=audit(1772449500.000:7): pid=7 uid=0 auid=5017 ses=1 msg='op=PAM acct=\"u017\" res=success'", now
        )
        # Eight hours ahead, as with a wrong zone: an event, flagged, that moves no watermark.
        ahead = _record(scheduler, _job("FAILED", "2026-03-02T18:00:00", "2026-03-02T19:05:00"), now)
        records = [record for several in bad.values() for record in several]
        replay.send(site.settings, [good, *records, ahead], final=True)
        site.start()
        site.until(lambda: caught_up(site.settings, site.topology).done, "the end of the input")
        codes = dict(
            site.database.query(
                "SELECT code, count() FROM {db}.sink_ranges FINAL ARRAY JOIN listed_codes AS code WHERE code != 'control' GROUP BY code"
            )
        )
        assert codes == {code: len(several) for code, several in bad.items()}
        assert site.database.query("SELECT kind, future FROM {db}.events ORDER BY kind") == [("audit_record", False), ("job_record", True)]


def _record(topic: str, value: bytes, at: int, file: str = "") -> Record:
    headers = [("host", b"gpu-012"), ("collected", str(at).encode())] + ([("file", file.encode())] if file else [])
    return Record(topic=topic, partition=0, offset=0, timestamp=at, value=value, headers=tuple(headers))


def _job(state: str, start: str, end: str | None) -> bytes:
    """A jobcomp record of job 7001."""
    job: dict[str, Any] = {
        "jobid": 7001, "username": "u017", "user_id": 5017, "@submit": start, "@start": start, "nodes": "gpu-012", "partition": "main",
        "job_name": "pretrain", "cluster": "main", "state": state,
    }  # fmt: skip
    if end is not None:
        job |= {"@end": end, "exit_code": "1:0", "derived_ec": "1:0", "elapsed": 300}
    return orjson.dumps(job)
