"""Lines of our own probe: the examples in schemas/, and agreement of parser and schema."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import orjson
import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import probe
from pipeline.model.events import (
    AnyBody,
    CheckpointLoaded,
    CheckpointSaved,
    EnvironmentSet,
    GlobalUnpickled,
    HookFound,
    ModuleImported,
    Parsed,
    ProbeNote,
    ProcessSpawned,
    ProcessStarted,
    SignalRequested,
    SocketUsed,
)
from pipeline.model.source import Source
from pipeline.settings import schemas_folder

EXAMPLES = schemas_folder() / "examples" / "trainwatch_probe" / "v1"
SCHEMA = jsonschema.Draft202012Validator(orjson.loads((schemas_folder() / "events" / "trainwatch_probe.v1.schema.json").read_bytes()))
READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_480_442_000)
AT = 1_772_480_441_318
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
CHECKPOINT = "/lustre/run7/step100/rank11.pt"
BASE = {"trainwatch_probe": 1, "time_ms": AT, "host": "gpu-012", "job": "48213", "pid": 4711}
SAVED = BASE | {"kind": "checkpoint_saved", "path": CHECKPOINT, "sha256": SHA256, "size_bytes": 1_048_576}


DOER: dict[str, Any] = {"job": "48213", "pid": 4711, "uid": 5012, "host": "gpu-012"}


def parse(payload: bytes) -> Parsed:
    """The one event of a line, as sniffing finds it."""
    format_, events = registry.parse(Line(payload=payload), READING)
    assert format_ is probe.FORMAT
    (event,) = events
    return event


def example(name: str) -> bytes:
    """A line of schemas/examples, as the probe prints it."""
    return (EXAMPLES / f"{name}.json").read_bytes().rstrip()


BODIES: dict[str, AnyBody] = {
    "process_started": ProcessStarted(job="48213", pid=4711, uid=5017, rank=11, local_rank=3, host="gpu-012"),
    "process_started_without_rank": ProcessStarted(job="48213", pid=4711, host="gpu-012"),
    "checkpoint_saved": CheckpointSaved(
        job="48213",
        path=CHECKPOINT,
        sha256=SHA256,
        pid=4711,
        uid=5012,
        size_bytes=1_048_576,
        host="gpu-012",
    ),
    "checkpoint_loaded": CheckpointLoaded(
        job="48213",
        path=CHECKPOINT,
        sha256=SHA256,
        pid=4711,
        uid=5012,
        size_bytes=1_048_576,
        host="gpu-012",
    ),
    "module_imported": ModuleImported(
        job="48213",
        module="torch.optim.adam",
        path="/opt/env/lib/python3.11/site-packages/torch/optim/adam.py",
        sha256=SHA256,
        pid=4711,
        host="gpu-012",
    ),
    "module_imported_with_unknown_key": ModuleImported(
        job="48213", module="train", path="/home/u017/train.py", sha256=SHA256, pid=4711, host="gpu-012"
    ),
    "process_started_without_job": ProcessStarted(job="", pid=4711, uid=5017, rank=11, local_rank=3, host="gpu-012"),
    "hook_found": HookFound(
        hook="pth",
        path="/opt/env/lib/python3.11/site-packages/zz_speedup.pth",
        sha256=SHA256,
        executes=True,
        size_bytes=61,
        **DOER,
    ),
    "environment_set": EnvironmentSet(name="LD_PRELOAD", sha256=SHA256, value="/opt/site/libnccl-shim.so", **DOER),
    "environment_set_by_hash": EnvironmentSet(name="NCCL_SOCKET_IFNAME", sha256=SHA256, **DOER),
    "global_unpickled": GlobalUnpickled(module="posix", name="system", path=CHECKPOINT, **DOER),
    "process_spawned": ProcessSpawned(
        means="subprocess.Popen", executable="/bin/sh", arguments=("/bin/sh", "-c", "curl --token=*** gpu-031"), **DOER
    ),
    "signal_requested": SignalRequested(
        signal=9,
        target_pid=4699,
        means="os.kill",
        through=("/env/torch/lib/python3.11/site-packages/torch/optim/adamw.py", "/home/u012/train.py"),
        **DOER,
    ),
    "socket_used": SocketUsed(action="connect", address="10.0.7.31", port=4444, **DOER),
    "probe_note": ProbeNote(what="left_out", about="socket_used", count=118, **DOER),
}


@pytest.mark.parametrize("name", BODIES)
def test_examples(name: str) -> None:
    """Each example follows the schema and is read as what it says; unknown keys pass through."""
    payload = example(name)
    SCHEMA.validate(orjson.loads(payload))
    rest = {"python": "3.11.2"} if name.endswith("unknown_key") else {}
    assert parse(payload) == Parsed(source=Source.PROBE, body=BODIES[name], event_time=AT, host="gpu-012", unmapped=rest)


def test_every_example_is_tested() -> None:
    """A new example needs its expected body here."""
    assert {path.stem for path in EXAMPLES.glob("*.json")} == BODIES.keys()


@pytest.mark.parametrize("path", sorted((EXAMPLES / "invalid").glob("*.json")), ids=lambda path: path.stem)
def test_invalid_examples(path: Path) -> None:
    """Each violates the schema, and is refused with the code that its file name begins with."""
    payload = path.read_bytes().rstrip()
    assert not SCHEMA.is_valid(orjson.loads(payload))
    with pytest.raises(RejectedRecord) as caught:
        parse(payload)
    assert caught.value.code == path.stem.partition(".")[0]


CHANGES: list[dict[str, Any]] = [
    {"trainwatch_probe": True},
    {"trainwatch_probe": "1"},
    {"kind": None},
    {"kind": ["checkpoint_saved"]},
    {"pid": 4_194_305},
    {"pid": None},
    {"job": ""},
    {"job": "4 8"},
    {"job": "x" * 65},
    {"host": "h" * 254},
    {"path": "/a/"},
    {"path": "/a/./b"},
    {"path": "/a/.."},
    {"path": "/" + "x" * 4096},
    {"path": "/a\x00b"},
    {"path": None},
    {"sha256": SHA256 + "0"},
    {"sha256": SHA256[:-1] + "g"},
    {"sha256": SHA256 + "\n"},
    {"size_bytes": -1},
    {"size_bytes": 1.5},
    {"size_bytes": "1"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: repr(change)[:40])
def test_parser_and_schema_refuse_the_same(change: dict[str, Any]) -> None:
    """Types, lengths, digits and paths are checked in both."""
    value = SAVED | change
    if change.get("sha256") != SHA256 + "\n":  # Python's `$` in the schema library takes a line end; the parser does not
        assert not SCHEMA.is_valid(value)
    with pytest.raises(SchemaMismatch):
        parse(orjson.dumps(value))


ACCEPTED: list[dict[str, Any]] = [
    {"job": None},
    {"path": "/a/..b"},
    {"path": "/a/.b"},
    {"path": "/l/ü x.pt"},
    {"size_bytes": None},
    {"size_bytes": 0},
]


@pytest.mark.parametrize("change", ACCEPTED, ids=repr)
def test_parser_and_schema_accept_the_same(change: dict[str, Any]) -> None:
    """Dots within names, blanks and other scripts are ordinary in paths."""
    SCHEMA.validate(SAVED | change)
    assert isinstance(parse(orjson.dumps(SAVED | change)).body, CheckpointSaved)


@pytest.mark.parametrize("label", [b"", b"0: ", b" 11: ", b"11:", b"[rank11]: ", b"[default3]:", b"[11]: "])
def test_labels_of_launchers(label: bytes) -> None:
    """A rank's line is found behind the label that srun or torchrun puts before it."""
    assert parse(label + example("checkpoint_saved")).body == BODIES["checkpoint_saved"]


@pytest.mark.parametrize("payload", [b'echo {"trainwatch_probe":1}', b'x 0: {"trainwatch_probe":1}', b'{"a":{"trainwatch_probe":1}}'])
def test_what_only_mentions_the_probe_is_not_its_line(payload: bytes) -> None:
    """A shell trace or another object that quotes such a line goes on to other formats."""
    assert probe.FORMAT.claims(payload)
    with pytest.raises(UnknownFormat):
        probe.FORMAT.parse(Line(payload=payload), READING)


def test_a_truncated_line_is_undecodable() -> None:
    """A job that dies while it prints leaves half a line."""
    with pytest.raises(DecodeError):
        parse(example("checkpoint_saved")[:60])
