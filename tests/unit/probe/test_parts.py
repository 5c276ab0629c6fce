"""Parts of the probe: what counts as a checkpoint, which globals are ordinary, what is masked; and that it is one file for old Pythons."""

import ast
import os
import sys
from pathlib import Path

import orjson
import pytest

from pipeline.probe import trainwatch_probe as probe
from tests.unit.probe.job import PROBE

TREE = ast.parse(PROBE.read_text(), feature_version=(3, 8))


def test_it_needs_nothing_but_the_standard_library() -> None:
    """It is copied to where jobs run, without trainwatch and without a package."""
    imported = {alias.name for node in ast.walk(TREE) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(TREE) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/l/step100/rank0.pt", True),
        ("model.safetensors", True),
        ("/l/__0_0.distcp", True),
        ("/l/pytorch_model-00001-of-00002.bin", True),
        ("/l/optimizer.bin", True),
        ("/l/training_args.bin", True),
        ("/data/corpus_text_document.bin", False),
        ("/data/remodel.bin", False),
        ("/l/best.pth", True),
        ("/env/lib/python3.11/site-packages/distutils-precedence.pth", False),
        ("/l/pt", False),
        ("/l/events.log", False),
        ("/l/step.pt.tmp", False),
    ],
)
def test_names_of_checkpoints(path: str, expected: bool) -> None:
    """By suffix; a `.bin` by its name too, since datasets have it, and a `.pth` among packages is a hook."""
    assert probe.is_checkpoint(path) is expected


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        ("collections", "OrderedDict", True),
        ("torch", "FloatStorage", True),
        ("torch", "bfloat16", True),
        ("torch", "float8_e4m3fn", True),
        ("torch._utils", "_rebuild_tensor_v2", True),
        ("torch.nn.modules.linear", "Linear", True),
        ("numpy", "dtype", True),
        ("_codecs", "encode", True),
        ("builtins", "set", True),
        ("megatron.core.enums", "ModelType", True),
        ("builtins", "eval", False),
        ("builtins", "getattr", False),
        ("posix", "system", False),
        ("torch", "load", False),
        ("torch.hub", "load", False),
        ("torch._inductor.codecache", "compile_file", False),
        ("torch._utilsx", "f", False),
        ("collections", "sys.modules", False),
        ("numpy", "load", False),
        ("functools", "partial", False),
        ("", "", False),
    ],
)
def test_globals_of_ordinary_checkpoints(module: str, name: str, expected: bool) -> None:
    """Tensors and their containers; not what calls, evaluates, fetches, or leads out of an allowed module."""
    assert probe.is_allowed_global(module, name, ("megatron",)) is expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["git", "push"], ["git", "push"]),
        (["x", "--token", "abc"], ["x", "--token", "***"]),
        (["x", "--token", "--verbose"], ["x", "--token", "--verbose"]),
        (["x", "--password=abc", "-p", "80"], ["x", "--password=***", "-p", "80"]),
        (["curl", "https://u017:abc@gpu-012/"], ["curl", "https://***@gpu-012/"]),
        (["export API_KEY='abc def'; run"], ["export API_KEY='*** def'; run"]),
        ([b"\xff", Path("/a"), 3], ["\ufffd", "/a", "3"]),
        (["x"] * 100, ["x"] * 32),
    ],
    ids=repr,
)
def test_arguments_are_bounded_and_masked(arguments: list[object], expected: list[str]) -> None:
    """Secrets stand in command lines all too often."""
    assert probe.masked(arguments) == expected


def build(folder: Path, **environ: str) -> probe.Probe:
    """A probe that listens to nothing and writes to a file."""
    return probe.Probe({"TWPROBE_OUTPUT": str(folder / "out.jsonl"), "TWPROBE_JOB": "48213", "TWPROBE_HOST": "gpu-012", **environ})


def told(folder: Path) -> list[tuple[str, str, str]]:
    """(kind, what, path) of the lines."""
    lines = map(orjson.loads, (folder / "out.jsonl").read_bytes().splitlines())
    return [(line["kind"], line.get("what", ""), line.get("path", "")) for line in lines]


def test_a_file_that_changes_before_it_is_hashed_is_noted(tmp_path: Path) -> None:
    """The hash is then not that of what the job saved: somebody was quicker than the thread."""
    watched, file = build(tmp_path), tmp_path / "a.pt"
    file.write_bytes(b"saved")
    work = probe.Work("saved", str(file), 1_772_480_441_318, probe.stat_path(str(file)))
    file.write_bytes(b"changed")
    watched._hash(work, bytearray(1 << 16))
    assert told(tmp_path)[1:] == [("checkpoint_saved", "", str(file)), ("probe_note", "changed_while_hashing", str(file))]


def test_a_file_above_the_limit_is_noted(tmp_path: Path) -> None:
    """It is not silently left out."""
    watched, file = build(tmp_path, TWPROBE_HASH_BYTES_MAX="3"), tmp_path / "a.pt"
    file.write_bytes(b"four")
    watched.enqueue("loaded", str(file))
    assert told(tmp_path)[1:] == [("probe_note", "too_large", str(file))]


def test_a_site_may_add_suffixes(tmp_path: Path) -> None:
    """With or without their dot."""
    watched = build(tmp_path, TWPROBE_SUFFIXES=".tar,shard")
    assert [watched.is_checkpoint(name) for name in ("a.tar", "a.shard", "a.pt", "a.log")] == [True, True, True, False]


def test_what_goes_wrong_inside_is_noted_once(tmp_path: Path) -> None:
    """And goes no further."""

    def fail() -> None:
        raise RecursionError("deep")

    watched = build(tmp_path)
    watched.quietly(fail)
    watched.quietly(fail)
    assert [line[1] for line in told(tmp_path)] == ["", "failed"]


def test_long_lines_are_cut_to_one_write(tmp_path: Path) -> None:
    """Characters that JSON escapes take six bytes each."""
    watched = build(tmp_path)
    watched.emit("process_spawned", {"means": "os.exec", "executable": "/bin/sh", "arguments": probe.masked(["ü" * 400] * 30)})
    assert max(map(len, (tmp_path / "out.jsonl").read_bytes().splitlines())) < 4096


def test_the_name_of_the_output_may_tell_ranks_apart(tmp_path: Path) -> None:
    """Values of the environment make no path of their own."""
    watched = build(tmp_path, TWPROBE_OUTPUT=str(tmp_path / "{host}-{job}-{rank}.jsonl"), TWPROBE_JOB="../x", RANK="3")
    watched.introduce()
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-012-..-x-3.jsonl"]
    assert os.stat(tmp_path / "gpu-012-..-x-3.jsonl").st_size
