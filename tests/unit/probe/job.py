"""Small jobs with the probe in them, and what it said."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pipeline

PROBE = Path(pipeline.__file__).parent / "probe" / "trainwatch_probe.py"

# What opens files past Python, as torch and safetensors do in C++ and Rust.
_NATIVE = """
import ctypes
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
def write(path, data):
    file = ctypes.c_void_p(libc.fopen(path.encode(), b"wb"))
    libc.fwrite(data, 1, len(data), file)
    libc.fclose(file)
"""
SITE_PACKAGES = {
    "native.py": _NATIVE,
    "torch/__init__.py": "from .serialization import load, save\n",
    "torch/serialization.py": (
        "import os, pickle\nfrom native import write\n"
        "def save(obj, f):\n    '''Saves.'''\n    write(os.fspath(f), pickle.dumps(obj))\n"
        "def load(f, **_):\n    with open(f, 'rb') as file:\n        return pickle.Unpickler(file).load()\n"
    ),
    "safetensors/__init__.py": (
        "from native import write\n"
        "def serialize_file(tensors, filename, metadata=None):\n    write(filename, repr(tensors).encode())\n"
        "class safe_open:\n    def __init__(self, filename, framework):\n        self.filename = filename\n"
        "    def __enter__(self):\n        return self\n    def __exit__(self, *_):\n        pass\n"
    ),
    "safetensors/torch.py": (
        "from safetensors import safe_open, serialize_file\n"
        "def save_file(tensors, filename):\n    serialize_file(tensors, filename, metadata=None)\n"
        "def load_file(filename):\n    with safe_open(filename, framework='pt') as file:\n        return file.filename\n"
    ),
}


@dataclass(frozen=True)
class Ran:
    """A job that ended."""

    code: int
    out: str
    err: str
    lines: tuple[bytes, ...]

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What the probe said, in order."""
        return [json.loads(line) for line in self.lines]

    def of(self, kind: str, **fields: object) -> list[dict[str, Any]]:
        """Facts of a kind, with these fields."""
        return [fact for fact in self.facts if fact["kind"] == kind and all(fact.get(name) == value for name, value in fields.items())]

    def one(self, kind: str, **fields: object) -> dict[str, Any]:
        """The only one."""
        (fact,) = self.of(kind, **fields)
        return fact


def site_packages(folder: Path) -> Path:
    """A folder of packages with a torch and a safetensors that are like the real ones where it matters."""
    packages = folder / "site-packages"
    for name, text in SITE_PACKAGES.items():
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return packages


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Of a job: nothing of this process's launcher, Slurm or coverage."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(site_packages(folder)),
        "TMPDIR": str(folder),
        "SLURM_JOB_ID": "48213",
        "TWPROBE_HOST": "gpu-012",
        "TWPROBE_OUTPUT": str(folder / "probe.jsonl"),
        **variables,
    }


def run(
    folder: Path, script: str, *, python: str = sys.executable, probed: bool = True, options: tuple[str, ...] = (), **variables: str
) -> Ran:
    """Run a script as a job under the wrapper, in its folder."""
    file = folder / "train.py"
    file.write_text(script)
    command = [python, *options, str(file)]
    if probed:
        command = [python, "-I", "-S", str(PROBE), "--", *command]
    return run_command(folder, command, **variables)


def run_command(folder: Path, command: list[str], **variables: str) -> Ran:
    """Run any command; read what the probe wrote to its file."""
    output = folder / "probe.jsonl"
    output.unlink(missing_ok=True)
    done = subprocess.run(
        command, cwd=folder, env=environment(folder, **variables), capture_output=True, text=True, check=False, timeout=60
    )
    lines = tuple(output.read_bytes().splitlines()) if output.exists() else ()
    return Ran(done.returncode, done.stdout, done.stderr, lines)
