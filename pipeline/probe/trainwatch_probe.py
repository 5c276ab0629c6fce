"""A training job in; one JSON line per fact about it out: what it imported, saved, loaded, unpickled, started, killed and connected to.

    python trainwatch_probe.py -- torchrun train.py        every Python process below the command is watched
    import trainwatch_probe                                this process is

One file, standard library only, Python 3.8 and later: copy it, or install it alone.  The wrapper puts a folder with a `sitecustomize`
first in PYTHONPATH and becomes the command, so that ranks inherit the probe from any launcher; an own `sitecustomize` still runs.

    audit hook   open, import, os.kill ...       -> what happens, before it happens
    import hook  torch, safetensors              -> paths that C++ and Rust open, which no audit event tells
    background   one thread, only while there is work: sha256 of modules and checkpoints

Holds: nothing is raised into the job.  A fact is one `write`, at once, since an attacker in the process may end it next; what endangers
(a kill, a program, a dangerous unpickling) is told before it is done, and the modules imported so far before that.  Each kind has a
rate of its own, so that a flood of one hides no other, and what was left out is counted.  Values that may be secret are never printed.

The format is `schemas/events/trainwatch_probe.v1.schema.json`.  The probe is as trustworthy as the job: code in the process can stop it.
"""

from __future__ import annotations

import _thread
import atexit
import fcntl
import functools
import hashlib
import importlib.machinery
import itertools
import json
import os
import re
import stat
import sys
import time

TYPE_CHECKING = False  # `typing` itself would cost milliseconds in every process
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import ModuleType
    from typing import Any

    Stat = tuple[int, int, int, int]
    Fields = dict[str, Any]

__version__ = "1.0.0"

_get_ident = _thread.get_ident

FORMAT_VERSION = 1
LINE_BYTES_MAX = 4096  # PIPE_BUF on Linux: one write of no more is not torn apart
CHUNK_BYTES = 1 << 20
SETTLE_SECONDS = 0.05  # imports come in bursts
POLL_SECONDS, POLL_SECONDS_MAX = 0.05, 2.0  # for a file that is being written to be closed
DANGER_SECONDS = 0.2  # what may be spent on telling of modules before a kill is let through
SMALL_BYTES = 4 << 20  # a file that is hashed before a kill is let through
FORK_SECONDS = 0.05
NOTE_SECONDS = 10.0
REMEMBERED_MAX = 10_000
PID_NAMESPACE_OF_HOST = 0xEFFFFFFC

# kind -> (lines at once, lines per second from then on)
RATES = {
    "module_imported": (8000, 20.0),
    "checkpoint_saved": (1000, 5.0),
    "checkpoint_loaded": (1000, 5.0),
    "hook_found": (200, 1.0),
    "environment_set": (200, 1.0),
    "global_unpickled": (500, 2.0),
    "process_spawned": (200, 2.0),
    "signal_requested": (200, 2.0),
    "socket_used": (200, 1.0),
    "probe_note": (200, 1.0),
    "process_started": (10, 1.0),
}

# --- what is worth telling ------------------------------------------------------------------------------------------------------

SUFFIXES = frozenset({
    "pt", "pth", "ckpt", "safetensors", "distcp", "pkl", "pickle", "h5", "hdf5", "msgpack", "gguf", "onnx", "npz", "nemo",
})  # fmt: skip
# `.bin` is the suffix of datasets too, and those are large.
_BIN = re.compile(r"(?:^|[_-])(?:model|optimizer|scheduler|training_args|random_states)(?:[_.-].*)?\.bin$")
_SOURCES = frozenset({"py", "pyc", "so"})
_SITE = ("/site-packages/", "/dist-packages/")

# Functions that open a file without an audit event: module -> (function, argument, its place, what it does).
PATCHES = {
    "torch.serialization": (("save", "f", 1, "saved"), ("load", "f", 0, "loaded")),
    "torch.jit._serialization": (("save", "f", 1, "saved"), ("load", "f", 0, "loaded")),
    "safetensors": (("serialize_file", "filename", 1, "saved"), ("safe_open", "filename", 0, "loaded")),
}
_ALIASES = {"torch.serialization": "torch", "torch.jit._serialization": "torch.jit", "safetensors": "safetensors.torch"}

# Globals that every checkpoint and every data loader unpickles.
_PICKLE_MODULES = (
    "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "uuid", "argparse", "torch._utils", "torch.storage",
    "torch.serialization", "torch._tensor", "torch.nn.parameter", "torch.nn.modules", "torch.optim", "torch.multiprocessing.reductions",
    "torch.distributed.checkpoint.metadata", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric",
    "numpy._core.numeric", "numpy.random._pickle", "numpy.dtypes", "multiprocessing.reduction", "multiprocessing.connection",
)  # fmt: skip
_PICKLE_NAMES = frozenset({
    *(("builtins", name) for name in (
        "set", "frozenset", "dict", "list", "tuple", "int", "float", "complex", "bool", "str", "bytes", "bytearray", "object", "slice",
        "range", "NoneType", "Ellipsis", "Exception", "RuntimeError", "ValueError", "KeyError", "TypeError", "StopIteration",
    )),
    ("_codecs", "encode"), ("copyreg", "_reconstructor"), ("copyreg", "__newobj__"), ("numpy", "ndarray"), ("numpy", "dtype"),
    ("types", "SimpleNamespace"),
})  # fmt: skip
# torch.FloatStorage, torch.int64
_TORCH_NAME = re.compile(r"[A-Za-z]*Storage|Tensor|Size|device|dtype|Generator|[a-z]+[0-9]+(?:_[a-z0-9]+)*")
_DANGEROUS = frozenset({
    "os", "posix", "nt", "subprocess", "_posixsubprocess", "sys", "socket", "_socket", "pty", "shutil", "ctypes", "_ctypes", "runpy",
    "importlib", "imp", "code", "codeop", "webbrowser", "signal", "_signal", "builtins", "operator", "_operator", "functools", "pickle",
    "_pickle", "marshal", "types", "multiprocessing", "threading", "_thread", "asyncio", "urllib", "http", "timeit", "pdb", "bdb",
    "cProfile",
})  # fmt: skip

_PLAIN = frozenset({
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PATH", "BASH_ENV", "ENV", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME",
    "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "PYTHONPYCACHEPREFIX", "PYTHONBREAKPOINT",
    "PYTHONWARNINGS", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "PYTHONINSPECT", "PYTHONHASHSEED", "PYTHONOPTIMIZE",
    "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "CUDA_INJECTION64_PATH", "CUDA_MODULE_LOADING", "CUDA_LAUNCH_BLOCKING",
    "NVIDIA_VISIBLE_DEVICES", "NCCL_NET_PLUGIN", "NCCL_TUNER_PLUGIN", "NCCL_PROFILER_PLUGIN", "NCCL_CONF_FILE", "TORCH_HOME",
    "TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_WEIGHTS_ONLY_LOAD",
    "TORCH_DEVICE_BACKEND_AUTOLOAD", "TRITON_CACHE_DIR", "HF_HOME", "HF_MODULES_CACHE", "HF_ENDPOINT", "TRANSFORMERS_CACHE",
})  # fmt: skip
_HASHED = (
    "LD_", "PYTHON", "CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_", "NCCL_", "TORCH", "TRITON_", "HF_", "TRANSFORMERS_", "UCX_", "OMPI_MCA_",
)  # fmt: skip
_SECRET = re.compile(
    r"token|secret|passw|passphrase|credential|api[_-]?key|access[_-]?key|private|[_-]key$|^key$|auth|cookie|bearer", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"((?:token|secret|passw|passphrase|credential|api[_-]?key|access[_-]?key|authorization|bearer)"
    r"[A-Za-z_-]{0,20}[=: ]{1,3}[\"']?(?:bearer |basic )?)[^\s\"']+",
    re.IGNORECASE,
)
_SECRET_URL = re.compile(r"(://)[^/@\s]{1,200}@")
_LAUNCHERS = frozenset({
    "torchrun", "accelerate", "deepspeed", "torch.distributed.run", "torch.distributed.launch", "horovodrun", "mpirun",
})  # fmt: skip


def is_checkpoint(path: str) -> bool:
    """Is a file's name that of a checkpoint?  A `.pth` among packages is a hook."""
    suffix = path.rpartition(".")[2]
    if suffix in SUFFIXES:
        return suffix != "pth" or not any(site in path for site in _SITE)
    return suffix == "bin" and _BIN.search(path.rpartition("/")[2]) is not None


@functools.lru_cache(maxsize=4096)
def is_allowed_global(module: str, name: str, allowed: tuple[str, ...] = ()) -> bool:
    """Is a global that ordinary checkpoints unpickle?"""
    if (module, name) in _PICKLE_NAMES:
        return True
    if module == "torch":
        return _TORCH_NAME.fullmatch(name) is not None
    if "." in name:
        return False  # `collections.sys.modules`: a way out of an allowed module
    return any(module == each or module.startswith(each + ".") for each in itertools.chain(_PICKLE_MODULES, allowed))


def masked(arguments: Iterable[object]) -> list[str]:
    """Arguments of a command, bounded, without what looks like a secret."""
    texts: list[str] = []
    room, hide = 1500, False
    for argument in itertools.islice(arguments, 32):
        text = os.fsdecode(argument) if isinstance(argument, (bytes, os.PathLike)) else str(argument)
        if hide and not text.startswith("-"):
            text = "***"
        hide = text.startswith("-") and "=" not in text and _SECRET.search(text) is not None
        text = _SECRET_URL.sub(r"\1***@", _SECRET_TEXT.sub(r"\1***", text[:2000]))
        text = plain(text, min(400, room))
        room -= len(text)
        texts.append(text)
        if room <= 0:
            break
    return texts


def plain(text: object, length_max: int) -> str:
    """Text that every JSON decoder takes: bytes of a name that are not UTF-8 become replacement characters."""
    cut = str(text)[:length_max].replace("\x00", "\ufffd")
    try:
        return cut.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # half a pair, which is not a byte of a name
        return cut.encode("utf-8", "replace").decode("utf-8")


def environment_facts(environ: Mapping[str, str], without: str = "") -> list[Fields]:
    """What of the environment steers what is loaded: paths as they are, other settings by hash, nothing that may be secret."""
    facts: list[Fields] = []
    for name in sorted(environ):
        if not name.startswith(_HASHED) and name not in _PLAIN:
            continue
        if _SECRET.search(name) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name):
            continue
        value = environ[name]
        if name == "PYTHONPATH" and without:
            value = os.pathsep.join(part for part in value.split(os.pathsep) if part != without)
            if not value:
                continue
        fact: Fields = {"name": name, "sha256": hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()}
        if name in _PLAIN and not _SECRET_URL.search(value):
            fact["value"] = plain(value, 2000)
        facts.append(fact)
    return facts


def first_of(environ: Mapping[str, str], *names: str) -> str:
    """The first variable that is set."""
    for name in names:
        if environ.get(name):
            return environ[name]
    return ""


def number_of(text: str) -> int | None:
    """A rank, where it is one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 7 else None


def stat_of(result: os.stat_result) -> Stat:
    """What changes when a file does; the change time cannot be set back by its owner."""
    return result.st_ino, result.st_size, result.st_mtime_ns, result.st_ctime_ns


def stat_path(path: str) -> Stat | None:
    """The same, of a regular file."""
    try:
        result = os.stat(path)
    except (OSError, ValueError):
        return None
    return stat_of(result) if stat.S_ISREG(result.st_mode) else None


def sha256_of(path: str, buffer: bytearray, stop: Callable[[], bool] | None = None) -> tuple[str, Stat] | None:
    """(digest, state afterwards) of a regular file; None where there is none, or when told to stop.

    The interpreter is free for other threads while a piece is read and hashed.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        digest, view = hashlib.sha256(), memoryview(buffer)
        while True:
            if stop is not None and stop():
                return None
            count = os.readv(fd, [buffer])
            if not count:
                return digest.hexdigest(), stat_of(os.fstat(fd))
            digest.update(view[:count])
    except OSError:
        return None
    finally:
        os.close(fd)


def is_large(path: str) -> bool:
    """Would hashing it hold up the job?"""
    state = stat_path(path)
    return state is not None and state[1] > SMALL_BYTES


def full_path(path: str) -> str:
    """Where a file really lies: a save through a link and a load past it must name one path."""
    real = os.path.realpath(path)
    return real[1:] if real.startswith("//") else real


def name_path(path: str) -> str:
    """The same of a name that may be a link itself, such as the `latest` that a rename replaces."""
    folder, name = os.path.split(os.path.abspath(path))
    return full_path(folder).rstrip("/") + "/" + name


def open_files() -> set[str] | None:
    """Paths that this process has open; None where the system does not tell."""
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return None
    paths = set()
    for number in numbers:
        try:
            paths.add(os.readlink("/proc/self/fd/" + number))
        except OSError:  # closed meanwhile, or listdir's own
            continue
    return paths


# --- where lines go -------------------------------------------------------------------------------------------------------------


class Output:
    """A descriptor of our own, so that a job which redirects its output later keeps the probe's where it was."""

    def __init__(self, where: str, names: Mapping[str, object]) -> None:
        self.shared = where in ("", "stderr", "stdout")
        self.lost = 0
        self._fd, self._identity, self._last = -1, (0, 0), 0.0
        if self.shared:
            self._take(os.dup(1 if where == "stdout" else 2))
        elif where.startswith("fd:"):
            self._take(os.dup(int(where[3:])))
        else:
            path = where[5:] if where.startswith("file:") else where  # noqa: FURB188  Python 3.8 has no removeprefix
            for name, value in names.items():
                path = path.replace("{" + name + "}", re.sub(r"[^A-Za-z0-9._+-]", "_", str(value)))
            self._take(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o640))

    def _take(self, fd: int) -> None:
        # Numbers below ten are what shell scripts use and what programs close and reuse.
        if fd < 10:
            high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
            os.close(fd)
            fd = high
        found = os.fstat(fd)
        self._fd, self._identity = fd, (found.st_dev, found.st_ino)

    def write(self, line: bytes) -> None:
        """One line in one call.  Never into a file that took over the number after the job had closed it."""
        try:
            found = os.fstat(self._fd)
            if (found.st_dev, found.st_ino) != self._identity:
                self.lost += 1
                return
            if self.shared:
                now = time.monotonic()
                if self._last and now - self._last > 0.25:
                    line = b"\n" + line  # a progress bar leaves its line unfinished
                self._last = now
            while line:
                line = line[os.write(self._fd, line) :]
        except (OSError, ValueError):
            self.lost += 1


class Rate:
    """So many lines at once, so many a second; and how many were left out."""

    def __init__(self, burst: int, per_second: float) -> None:
        self.left_out, self.noted_at = 0, 0.0
        self._burst, self._per_second, self._tokens, self._at = burst, per_second, float(burst), time.monotonic()

    def take(self) -> bool:
        """Is there room for one more?"""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return True
        self.left_out += 1
        return False


# --- the probe ------------------------------------------------------------------------------------------------------------------


class Work:
    """A checkpoint to hash."""

    __slots__ = ("path", "state", "time_ms", "what")

    def __init__(self, what: str, path: str, time_ms: int, state: Stat | None) -> None:
        self.what, self.path, self.time_ms, self.state = what, path, time_ms, state


class Probe:
    """All that is known of this process.  No lock is held while anything is told, so no fork and no signal can find one held."""

    def __init__(self, environ: Mapping[str, str], folder: str = "") -> None:
        self.environ, self.folder = environ, folder
        self.pid, self.uid = os.getpid(), os.getuid()
        self.host = re.sub(r"[^A-Za-z0-9._-]", "-", first_of(environ, "TWPROBE_HOST", "SLURMD_NODENAME") or os.uname().nodename)[:253]
        job = first_of(environ, "TWPROBE_JOB", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "RAY_JOB_ID", "JOB_ID")
        self.job = re.sub(r"[^A-Za-z0-9._+-]", "-", job)[:64]
        words = command_line()
        launcher = any(os.path.basename(word) in _LAUNCHERS for word in words)
        self.rank = None if launcher else number_of(first_of(environ, "RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"))
        local = first_of(environ, "LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
        self.local_rank = None if launcher else number_of(local)
        self.modules = environ.get("TWPROBE_MODULES", "outside")
        self.allowed = tuple(part for part in environ.get("TWPROBE_PICKLE_ALLOW", "").split(",") if part)
        self.suffixes = frozenset(part.lstrip(".") for part in environ.get("TWPROBE_SUFFIXES", "").split(",") if part)
        self.bytes_max = number_of_bytes(environ.get("TWPROBE_HASH_BYTES_MAX", ""), 64 << 30)
        self.exit_seconds = number_of_bytes(environ.get("TWPROBE_EXIT_SECONDS", ""), 10)
        names = {"host": self.host, "job": self.job, "pid": self.pid, "rank": "" if self.rank is None else self.rank}
        self.output = Output(environ.get("TWPROBE_OUTPUT", "stderr"), names)
        self.rates = {kind: Rate(*rate) for kind, rate in RATES.items()}
        self.inherited = self._is_inherited()
        # A worker of `multiprocessing` imports what its parent did; a launcher's `python train.py` does not.
        self.without_modules = self.inherited and any("from multiprocessing." in word for word in words)
        self.introduced = False
        self._sequence = itertools.count(1)
        self._standard = tuple({os.path.dirname(os.__file__) + "/", os.path.realpath(os.path.dirname(os.__file__)) + "/"})
        self._handlers: dict[str, Callable[[Any], None]] = {}
        self._inside: set[int] = set()
        self._kicks = self._scanned = 0
        self._is_telling = False
        self._known: dict[str, object] = {}
        self._folders: dict[str, str] = {}
        self._queue: list[Work] = []
        self._writing: dict[str, int] = {}  # path -> when it was opened
        self._done: dict[tuple[str, str], Stat | None] = {}
        self._saved: dict[str, tuple[str, Stat]] = {}
        self._renames: list[tuple[str, str]] = []
        self._loading: dict[int, list[str]] = {}  # thread -> files that it is loading
        self._last_read = ""
        self._told: dict[str, set[tuple[str, ...]]] = {}
        self._poll = POLL_SECONDS
        self._worker, self._buffer = 0, bytearray(CHUNK_BYTES)
        self._locks()

    def _locks(self) -> None:
        self._working, self._wake = _thread.allocate_lock(), _thread.allocate_lock()
        self._wake.acquire()
        self._pausing = self._finishing = False
        self._deadline = 0.0

    def _is_inherited(self) -> bool:
        """Was this rank introduced already by a process above, such as the one whose data loader this is?"""
        mark = "/".join((self.job, str(self.rank), str(self.local_rank), self.environ.get("TORCHELASTIC_RESTART_COUNT", ""), sys.prefix))
        found, _, pid = self.environ.get("TWPROBE_WITHIN", "").rpartition(":")
        if self.environ is os.environ:
            os.environ["TWPROBE_WITHIN"] = f"{mark}:{self.pid}"
        return found == mark and pid != str(self.pid)  # the same pid: it has become another program

    # --- telling ---

    def emit(self, kind: str, fields: Fields, time_ms: int | None = None, *, taken: bool = False) -> None:
        """Print a fact, if there is room for one more of its kind."""
        rate = self.rates[kind]
        if not taken and not rate.take():
            self._note_left_out(kind, rate)
            return
        if rate.left_out:
            self._note_left_out(kind, rate)
        if not self.introduced and kind != "process_started":
            self.introduce()
        self._write(kind, fields, time_ms)

    def _note_left_out(self, kind: str, rate: Rate, *, last: bool = False) -> None:
        now = time.monotonic()
        if not rate.left_out or (not last and rate.noted_at and now - rate.noted_at < NOTE_SECONDS):
            return
        count, rate.left_out, rate.noted_at = rate.left_out, 0, now
        self._write("probe_note", {"what": "left_out", "about": kind, "count": count}, None)

    def _write(self, kind: str, fields: Fields, time_ms: int | None) -> None:
        line: Fields = {
            "trainwatch_probe": FORMAT_VERSION,
            "kind": kind,
            "time_ms": int(time.time() * 1000) if time_ms is None else time_ms,
            "host": self.host,
            "job": self.job,
            "pid": self.pid,
            "uid": self.uid,
        }
        if not self.job:
            del line["job"]
        line.update(fields)
        line["seq"] = next(self._sequence)
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if len(data) > LINE_BYTES_MAX:
            for name in ("arguments", "text", "value"):
                if name in line:
                    line[name] = [*(text[:100] for text in line[name][:3]), "..."] if name == "arguments" else line[name][:200]
            data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self.output.write(data)

    def introduce(self) -> None:
        """Say that this process is there.  A forked child does so when it first has something to say."""
        self.introduced = True
        fields: Fields = {"probe": __version__, "python": sys.version.split()[0], "executable": plain(sys.executable, 500)}
        fields["ppid"] = os.getppid()
        if not self.inherited:
            fields.update({name: value for name, value in (("rank", self.rank), ("local_rank", self.local_rank)) if value is not None})
        try:
            namespace = os.stat("/proc/self/ns/pid").st_ino
            if namespace != PID_NAMESPACE_OF_HOST:
                fields["pid_namespace"] = namespace  # the pid is not the host's
        except OSError:
            pass
        self.emit("process_started", fields)

    def note(self, what: str, about: str = "", path: str = "", text: str = "") -> None:
        """Something about the probe itself."""
        fields = {"what": what, "about": about, "path": path, "text": text}
        self.emit("probe_note", {name: value for name, value in fields.items() if value})

    def quietly(self, function: Callable[..., None], *arguments: object) -> None:
        """Call ours within the job: what goes wrong is a note, once for each place, and events that we cause ourselves are not told."""
        ident = _get_ident()
        if ident in self._inside:
            return
        self._inside.add(ident)
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001  the job must not notice us, whatever it did to the interpreter
            self._failed(function, error)
        finally:
            self._inside.discard(ident)

    def _failed(self, function: Callable[..., None], error: Exception) -> None:
        about = getattr(function, "__name__", "?")
        if not self.once("failed", about, type(error).__name__):
            return
        try:  # noqa: SIM105  contextlib is one more import in every process
            self.note("failed", about=about, text=plain(f"{type(error).__name__}: {error}", 300))
        except Exception:  # noqa: BLE001, S110  nothing is left to say it with
            pass

    def once(self, what: str, *key: str) -> bool:
        """Is it new?  Bounded for each kind: a job that connects to a million places is told of the first ones."""
        told = self._told.setdefault(what, set())
        if key in told or len(told) >= REMEMBERED_MAX:
            return False
        told.add(key)
        return True

    # --- start ---

    def start(self) -> None:
        """Tell what is there already, and listen from now on."""
        self.introduce()
        for fact in environment_facts(self.environ, self.folder):
            self.emit("environment_set", fact)
        self._tell_hooks()
        self._handlers = {
            "open": self._on_open,
            "import": self._on_import,
            "cpython.run_file": self._on_run_file,
            "cpython.run_module": self._on_import,
            "os.rename": self._on_rename,
            "pickle.find_class": self._on_find_class,
            "subprocess.Popen": self._on_popen,
            "os.system": self._on_system,
            "os.exec": self._on_exec,
            "os.posix_spawn": self._on_posix_spawn,
            "os.kill": self._on_kill,
            "os.killpg": self._on_killpg,
            "signal.pthread_kill": self._on_thread_kill,
            "socket.connect": self._on_connect,
            "socket.bind": self._on_bind,
        }
        handlers, quietly = self._handlers.get, self.quietly

        def listen(event: str, arguments: object) -> None:
            handler = handlers(event)
            if handler is not None:
                quietly(handler, arguments)

        sys.meta_path.insert(0, Finder(self))  # a finder needs no more than find_spec
        for name in PATCHES:
            if name in sys.modules:
                self.patch(name, sys.modules[name])
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_child)
        atexit.register(self.finish)
        sys.addaudithook(listen)
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        if type(main) is str and not self.without_modules and self.modules != "none":
            self._tell_module("__main__", main, None)
        self._on_import(())

    def _tell_hooks(self) -> None:
        site = sys.modules.get("site")
        elsewhere = [part for part in sys.path if part != self.folder]
        found: list[tuple[str, str]] = []
        for name in ("sitecustomize", "usercustomize"):
            spec = importlib.machinery.PathFinder.find_spec(name, elsewhere)
            if spec is not None and spec.origin and (name == "sitecustomize" or getattr(site, "ENABLE_USER_SITE", False)):
                found.append((name, spec.origin))
        folders = {part for part in elsewhere if part.endswith(("site-packages", "dist-packages"))}
        for folder in sorted(folders):
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                continue
            found.extend(("pth", os.path.join(folder, name)) for name in names if name.endswith(".pth"))
        if self.environ.get("PYTHONSTARTUP"):
            found.append(("startup", os.path.abspath(self.environ["PYTHONSTARTUP"])))
        for hook, path in found[:200]:
            hashed = sha256_of(path, self._room())
            if hashed is None:
                continue
            fields: Fields = {"hook": hook, "path": plain(self._in_folder(path), 4096), "sha256": hashed[0], "size_bytes": hashed[1][1]}
            if hook == "pth":
                with open(path, "rb") as file:
                    fields["executes"] = any(line.startswith((b"import ", b"import\t")) for line in file.read(1 << 20).splitlines())
            self.emit("hook_found", fields)

    # --- modules ---

    def _on_import(self, _: object) -> None:
        self._kicks += 1
        self._start_work()

    def _on_run_file(self, arguments: tuple[object, ...]) -> None:
        """The job's script, before it runs: when it has ended, the module does not know its file any more."""
        if isinstance(arguments[0], (str, bytes)) and not self.without_modules and self.modules != "none":
            self._tell_module("__main__", os.fsdecode(arguments[0]), None)
        self._on_import(())

    def _in_folder(self, path: str) -> str:
        """The path with the links in its folder resolved, which is asked once for each folder."""
        folder, name = os.path.split(os.path.abspath(path))
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = full_path(folder)
        return known.rstrip("/") + "/" + name

    def scan(self, until: float = 0.0) -> None:
        """Tell of modules that came since; the newest first, where there is little time."""
        kicks = self._kicks
        try:
            if self.modules != "none" and (self.modules == "all" or not self.without_modules):
                self._tell_modules(until)
        finally:
            self._scanned = kicks

    def _tell_modules(self, until: float) -> None:
        known, postponed = self._known, False
        modules = list(sys.modules.items())
        for name, module in reversed(modules) if until else modules:
            try:
                values = object.__getattribute__(module, "__dict__")
                spec = values.get("__spec__")
            except (AttributeError, TypeError):  # not a module: something put itself in its place
                values, spec = {}, module
            if name in known and known[name] is (spec or module):
                continue
            known[name] = spec or module
            origin = getattr(spec, "origin", None) if getattr(spec, "has_location", False) else values.get("__file__")
            if type(origin) is str and type(name) is str and origin:
                large = is_large(origin)
                if large and until:  # an extension of hundreds of megabytes is the thread's
                    del known[name]
                    postponed = True
                    continue
                if large:
                    self._is_telling = False  # nobody is to wait for that
                self._tell_module(name, origin, getattr(spec, "cached", None))
                if large:
                    self._is_telling = True
            elif name == "__main__":
                del known[name]  # its file is known a little later
            if until and time.monotonic() > until:
                postponed = True
                break
        if postponed:
            self._kicks += 1
            self._start_work()

    def _room(self) -> bytearray:
        """A buffer that no other thread reads into."""
        return self._buffer if _get_ident() == self._worker else bytearray(1 << 16)

    def _tell_module(self, name: str, origin: str, cached: object) -> None:
        if self.modules != "all" and origin.startswith(self._standard) and not any(site in origin for site in _SITE):
            return
        if self.folder and origin.startswith(self.folder + "/"):
            return
        path = origin
        while not os.path.isfile(path):  # within an archive
            path, above = os.path.dirname(path), path
            if path == above:
                return
        path = self._in_folder(path)
        if name == "__main__" and not self.once("__main__", path):
            return
        hashed = sha256_of(path, self._room())
        if hashed is None:
            return
        fields: Fields = {"module": re.sub(r"\s", "_", plain(name, 512)) or "_", "path": plain(path, 4096), "sha256": hashed[0]}
        if type(cached) is str and cached != origin:
            compiled = sha256_of(cached, self._room())
            if compiled is not None:
                fields["cached_sha256"] = compiled[0]  # what ran, as long as it says that it is made of the source
        self.emit("module_imported", fields)

    # --- checkpoints ---

    def is_checkpoint(self, path: str) -> bool:
        """By the built-in names, or by a suffix that the site has added."""
        return is_checkpoint(path) or (bool(self.suffixes) and path.rpartition(".")[2] in self.suffixes)

    def _on_open(self, arguments: tuple[object, object, int]) -> None:
        path, _, flags = arguments
        if type(path) is not str:
            if not isinstance(path, (bytes, os.PathLike)):
                return
            path = os.fsdecode(path)
        if path.rpartition(".")[2] in _SOURCES:
            self._kicks += 1
            self._start_work()
        elif self.is_checkpoint(path):
            if flags & (os.O_WRONLY | os.O_RDWR):
                self._watch(full_path(path))
            else:
                self._last_read = full_path(path)
                self.enqueue("loaded", self._last_read)

    def _watch(self, path: str) -> None:
        """Have a file hashed when it is written and closed."""
        self._writing.setdefault(path, int(time.time() * 1000))
        self._poll = POLL_SECONDS
        self._start_work()

    def _on_rename(self, arguments: tuple[Any, ...]) -> None:
        source, target = name_path(os.fsdecode(arguments[0])), name_path(os.fsdecode(arguments[1]))
        if os.path.islink(source):
            return
        self._renames = [*self._renames[-99:], (source, target)]
        if source in self._writing:
            del self._writing[source]
            self._watch(target)
        elif self.is_checkpoint(target):
            self._watch(target)  # looked at when it is there
        for path in [path for path in self._saved if path.startswith(source + "/")]:
            self._watch(target + path[len(source) :])

    def enqueue(self, what: str, path: str, time_ms: int | None = None) -> None:
        """Have a checkpoint hashed, once for each state of the file."""
        state = stat_path(path)
        if state is None or self._done.get((what, path)) == state:
            return
        if len(self._done) >= REMEMBERED_MAX:
            self._done.clear()
        self._done[what, path] = state
        kind = "checkpoint_" + what
        if not self.rates[kind].take():
            self._note_left_out(kind, self.rates[kind])
            return
        if state[1] > self.bytes_max:
            self.note("too_large", about=kind, path=plain(path, 4096))
            return
        self._queue.append(Work(what, path, int(time.time() * 1000) if time_ms is None else time_ms, state))
        self._start_work()

    def _hash(self, work: Work, buffer: bytearray) -> None:
        kind, path = "checkpoint_" + work.what, work.path
        hashed = sha256_of(path, buffer, self._is_too_late)
        if hashed is None:
            moved = self._moved(path)
            if moved == path or (hashed := sha256_of(moved, buffer, self._is_too_late)) is None:
                self.note("not_hashed", about=kind, path=plain(path, 4096))
                return
            path = moved
        digest, after = hashed
        self.emit(kind, {"path": plain(path, 4096), "sha256": digest, "size_bytes": after[1]}, work.time_ms, taken=True)
        if work.state is not None and work.state[:3] != after[:3]:
            self.note("changed_while_hashing", about=kind, path=plain(path, 4096))
        if work.what == "saved":
            if len(self._saved) >= REMEMBERED_MAX:
                self._saved.clear()
            self._saved[path] = (digest, after)

    def _moved(self, path: str) -> str:
        """Where a file is that was renamed, or whose folder was."""
        for source, target in self._renames:
            if path == source:
                path = target
            elif path.startswith(source + "/"):
                path = target + path[len(source) :]
        return path

    def _collect_written(self) -> None:
        """Files that were opened for writing and are closed by now."""
        opened = set() if self._finishing else open_files()
        now = int(time.time() * 1000)
        for path, since in list(self._writing.items()):
            if opened is None:  # no /proc: closed is what has not changed for a second
                state = stat_path(path)
                closed = state is not None and now - state[2] // 1_000_000 > 1000
            else:
                closed = path not in opened and now - since > POLL_SECONDS * 1000
            if closed or self._finishing:
                self._writing.pop(path, None)
                state = stat_path(path)
                # When it was closed is not told; its last change is, which a clock of the file server may have stamped.
                self.enqueue("saved", self._moved(path) if state is None else path, now)
                self._poll = POLL_SECONDS

    def patch(self, name: str, module: ModuleType) -> None:
        """Wrap the functions of a module that open files on their own."""
        for function, argument, place, what in PATCHES[name]:
            original = getattr(module, function, None)
            if original is None or getattr(original, "__trainwatch_probe__", False):
                continue
            wrapped = self._wrapped(original, argument, place, what)
            setattr(module, function, wrapped)
            alias = sys.modules.get(_ALIASES[name])
            if alias is not None and getattr(alias, function, None) is original:
                setattr(alias, function, wrapped)

    def _wrapped(self, original: Any, argument: str, place: int, what: str) -> Any:
        @functools.wraps(original, updated=())
        def wrapper(*arguments: Any, **named: Any) -> Any:
            path = ""
            try:
                given = arguments[place] if len(arguments) > place else named.get(argument)
                if isinstance(given, (str, bytes, os.PathLike)):
                    path = full_path(os.fsdecode(given))
                elif what == "loaded":
                    name = getattr(given, "name", None)  # of an open file
                    path = full_path(name) if isinstance(name, str) else ""
            except Exception:  # noqa: BLE001  the job's own call says what is wrong with its argument
                path = ""
            if not path:
                return original(*arguments, **named)
            if what == "saved":
                result = original(*arguments, **named)
                self._writing.pop(path, None)
                self.quietly(self.enqueue, "saved", path)
                return result
            self.quietly(self.enqueue, "loaded", path)
            loading = self._loading.setdefault(_get_ident(), [])
            loading.append(path)
            try:
                return original(*arguments, **named)
            finally:
                loading.pop()
                if not loading:
                    self._loading.pop(_get_ident(), None)

        wrapper.__trainwatch_probe__ = True  # type: ignore[attr-defined]
        return wrapper

    # --- what may do harm ---

    def _before_danger(self, *, hash_loads: bool = True) -> None:
        """Tell what is known so far of the code that is about to do something, since it may be the last that is heard."""
        until = time.monotonic() + DANGER_SECONDS
        self.scan(until)  # also where nothing was imported since: the thread may be at it, and held up by a large module
        while self._is_telling and time.monotonic() < until:
            time.sleep(0.001)
        if not hash_loads:
            return
        for work in [each for each in list(self._queue) if each.state and each.state[1] <= SMALL_BYTES]:
            if time.monotonic() > until:
                return
            try:
                self._queue.remove(work)
            except ValueError:
                continue  # the other thread has it
            self._hash(work, bytearray(1 << 16))

    def _on_find_class(self, arguments: tuple[str, str]) -> None:
        module, name = str(arguments[0]), str(arguments[1])
        if is_allowed_global(module, name, self.allowed):
            return
        loading = self._loading.get(_get_ident())
        path = loading[-1] if loading else self._last_read
        dangerous = module.partition(".")[0] in _DANGEROUS
        if not self.once("global", module, name, path if dangerous else ""):
            return
        if path and not loading:
            opened = open_files()
            path = path if opened is not None and path in opened else ""
        fields: Fields = {"module": plain(module, 512), "name": plain(name, 512)}
        if path:
            fields["path"] = plain(path, 4096)
        self.emit("global_unpickled", fields)
        if dangerous:
            self._before_danger()

    def _spawned(self, means: str, executable: object, arguments: Iterable[object]) -> None:
        self._before_danger()
        text = os.fsdecode(executable) if isinstance(executable, (str, bytes, os.PathLike)) else ""
        self.emit("process_spawned", {"means": means, "executable": plain(text, 1000), "arguments": masked(arguments)})

    def _on_popen(self, arguments: tuple[Any, ...]) -> None:
        executable, command = arguments[0], arguments[1]
        if isinstance(command, (str, bytes, os.PathLike)):
            command = [command]
        self._spawned("subprocess.Popen", executable or (command[0] if command else ""), command)

    def _on_system(self, arguments: tuple[Any, ...]) -> None:
        self._spawned("os.system", "/bin/sh", [arguments[0]])

    def _on_exec(self, arguments: tuple[Any, ...]) -> None:
        self._spawned("os.exec", arguments[0], arguments[1])

    def _on_posix_spawn(self, arguments: tuple[Any, ...]) -> None:
        self._spawned("os.posix_spawn", arguments[0], arguments[1])

    def _signalled(self, means: str, target: int, number: int) -> None:
        if not number or not 0 < number <= 64:
            return  # asks only whether the process is there
        self._before_danger()
        fields: Fields = {"means": means, "target_pid": target, "signal": int(number), "through": self._through()}
        self.emit("signal_requested", fields)

    def _through(self) -> list[str]:
        """Files whose code makes the call, the innermost first: as many as a line bears."""
        frame, found, room = sys._getframe(), {"": None}, 2000
        mine = frame.f_code.co_filename
        for _ in range(200):
            if frame.f_back is None:
                break
            frame = frame.f_back
            name = frame.f_code.co_filename
            if name != mine and (file := plain(name if name[:1] == "<" else self._in_folder(name), 1000)) not in found:
                room -= len(json.dumps(file)) + 1
                if room < 0:
                    break
                found[file] = None
        return list(found)[1:]

    def _on_kill(self, arguments: tuple[int, int]) -> None:
        self._signalled("os.kill", int(arguments[0]), arguments[1])

    def _on_killpg(self, arguments: tuple[int, int]) -> None:
        self._signalled("os.killpg", -(int(arguments[0]) or os.getpgrp()), arguments[1])

    def _on_thread_kill(self, arguments: tuple[int, int]) -> None:
        self._signalled("signal.pthread_kill", self.pid, arguments[1])

    def _on_connect(self, arguments: tuple[Any, ...]) -> None:
        self._socket("connect", arguments[1])

    def _on_bind(self, arguments: tuple[Any, ...]) -> None:
        self._socket("bind", arguments[1])

    def _socket(self, action: str, address: object) -> None:
        if not isinstance(address, tuple) or len(address) not in (2, 4) or not isinstance(address[1], int):
            return  # a local socket
        host, port = plain(os.fsdecode(address[0]) if isinstance(address[0], bytes) else address[0], 255), int(address[1])
        if 0 <= port <= 65_535 and self.once("socket", action, host, str(port)):
            self.emit("socket_used", {"action": action, "address": host, "port": port})

    # --- the background ---

    def _start_work(self) -> None:
        if not self._working.acquire(False):
            return
        try:
            _thread.start_new_thread(self._work, ())
        except RuntimeError:  # no more threads, or the interpreter is ending: `finish` does it
            self._working.release()

    def _work(self) -> None:
        while True:
            self._worker = _get_ident()
            while not self._pausing and not self._finishing and self._has_work():
                self.quietly(self._work_once)
            self._worker = 0
            self._working.release()
            # Work that came between the last look and the release found the lock taken.
            if self._pausing or self._finishing or not self._has_work() or not self._working.acquire(False):
                return

    def _has_work(self) -> bool:
        return self._kicks != self._scanned or bool(self._queue) or bool(self._writing)

    def _work_once(self) -> None:
        if self._kicks != self._scanned:
            if not self._finishing:
                self._wake.acquire(True, SETTLE_SECONDS)
            self._is_telling = True
            try:
                self.scan()
            finally:
                self._is_telling = False
        elif self._queue:
            try:
                work = self._queue.pop(0)
            except IndexError:
                return
            self._hash(work, self._buffer if _get_ident() == self._worker else bytearray(CHUNK_BYTES))
        elif self._writing:
            if not self._finishing:
                self._wake.acquire(True, self._poll)
                self._poll = min(self._poll * 1.5, POLL_SECONDS_MAX)
            self._collect_written()

    def _is_too_late(self) -> bool:
        return bool(self._deadline) and time.monotonic() > self._deadline

    def finish(self) -> None:
        """At the end of the process: hash what was saved last, within its time, and say what was left out."""
        try:
            self._deadline = time.monotonic() + self.exit_seconds
            self._kicks += 1
            self._finishing = True
            self._release_wake()
            self._working.acquire(True, self.exit_seconds + FORK_SECONDS)
            while self._has_work() and not self._is_too_late():
                self.quietly(self._work_once)
            self.quietly(self._say_goodbye)
        except Exception:  # noqa: BLE001, S110  the interpreter would print it
            pass

    def _say_goodbye(self) -> None:
        if not self.introduced:
            return
        for work in self._queue:
            self.note("not_hashed", about="checkpoint_" + work.what, path=plain(work.path, 4096))
        for kind, rate in self.rates.items():
            self._note_left_out(kind, rate, last=True)
        self.note("exiting", text=f"{self.output.lost} lines could not be written" if self.output.lost else "")

    def _release_wake(self) -> None:
        try:  # noqa: SIM105  same
            self._wake.release()
        except RuntimeError:
            pass

    # --- forks ---

    def _before_fork(self) -> None:
        """Let the thread come to an end: a fork beside a thread makes later Pythons warn."""
        self._pausing = True
        if self._working.locked():
            self._release_wake()
            if self._working.acquire(True, FORK_SECONDS):
                self._working.release()

    def _after_fork(self) -> None:
        self._pausing = False
        self._wake.acquire(False)
        if self._has_work():
            self._start_work()

    def _in_child(self) -> None:
        self._locks()  # whoever held them is not in this process
        self.pid, self.introduced, self.inherited = os.getpid(), False, True
        self._scanned, self._is_telling = self._kicks, False
        self._queue, self._writing, self._loading, self._worker = [], {}, {}, 0
        self._inside.clear()
        self._sequence = itertools.count(1)
        for rate in self.rates.values():
            rate.left_out = 0
        util = sys.modules.get("multiprocessing.util")
        if util is not None:  # such a child ends without `atexit`
            self.quietly(self._finish_with, util)

    def _finish_with(self, util: Any) -> None:
        if not getattr(self, "_is_finalised", False):
            util.register_after_fork(self, Probe._add_finaliser)
            self._is_finalised = True

    def _add_finaliser(self) -> None:
        util: Any = sys.modules["multiprocessing.util"]
        util.Finalize(None, self.finish, exitpriority=-1000)


class Finder:
    """Sees the modules of PATCHES being imported; to all others it does not exist."""

    def __init__(self, probe: Probe) -> None:
        self._probe, self._looking = probe, False

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """The spec that the others find, whose loader patches the module when it has run it."""
        if name not in PATCHES or self._looking:
            return None
        self._looking = True
        try:
            spec = None
            for finder in sys.meta_path:
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec = find(name, path, target) if find is not None else None
                if spec is not None:
                    break
        finally:
            self._looking = False
        loader = getattr(spec, "loader", None)
        if loader is None or not hasattr(loader, "exec_module"):
            return spec
        run, probe = loader.exec_module, self._probe

        def exec_module(module: ModuleType) -> None:
            run(module)
            probe.quietly(probe.patch, name, module)

        try:
            loader.exec_module = exec_module
        except (AttributeError, TypeError):
            probe.quietly(probe.note, "failed", "patch", "", name)
        return spec


def command_line() -> list[str]:
    """First words of what this process was started with: `sys.argv` is not there yet when the interpreter starts."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read(4096).split(b"\x00")[:6]]
    except OSError:
        return []


def number_of_bytes(text: str, default: int) -> int:
    """A setting that is a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else default


_probe: Probe | None = None


def start(folder: str = "") -> bool:
    """Watch this process from now on; once.  `folder` is what the wrapper put into PYTHONPATH.  Says whether it is watched."""
    global _probe  # noqa: PLW0603  one for each process
    if _probe is not None:
        return True
    if os.environ.get("TWPROBE", "on").lower() in ("0", "off", "no", "false"):
        return False
    try:
        _probe = Probe(os.environ, folder)
    except Exception:  # noqa: BLE001  no output to write to: the job runs without
        return False
    _probe.quietly(_probe.start)
    return True


# --- the wrapper ----------------------------------------------------------------------------------------------------------------

_SITECUSTOMIZE = '''\
"""Starts the trainwatch probe, then steps aside for the site's own sitecustomize."""

import os
import sys


def _start(folder):
    try:
        if "trainwatch_probe" not in sys.modules:
            from importlib.util import module_from_spec, spec_from_file_location

            spec = spec_from_file_location("trainwatch_probe", {path!r})
            module = module_from_spec(spec)
            module.STARTED_BY = folder
            sys.modules["trainwatch_probe"] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules["trainwatch_probe"]
                raise
    except Exception:
        pass  # the job must not notice


def _step_aside(folder):
    sys.path[:] = [part for part in sys.path if part != folder]
    mine = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        if mine is not None:
            sys.modules.setdefault("sitecustomize", mine)


_folder = os.path.dirname(__file__)
_start(_folder)
_step_aside(_folder)
'''


def hook_folder(probe: str) -> str:
    """A folder with nothing but our sitecustomize, ours alone, the same for all runs of one version."""
    import tempfile  # noqa: PLC0415  the wrapper only

    text = _SITECUSTOMIZE.format(path=probe).encode("utf-8", "surrogateescape")
    name = f"trainwatch-probe-{os.getuid()}-{hashlib.sha256(text).hexdigest()[:16]}"
    folder = os.path.join(os.path.realpath(tempfile.gettempdir()), name)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            folder = tempfile.mkdtemp(prefix="trainwatch-probe-")  # somebody else made it
    file = os.path.join(folder, "sitecustomize.py")
    try:
        with open(file, "rb") as known:
            if known.read() == text:
                return folder
    except OSError:
        pass
    part = f"{file}.{os.getpid()}"
    with open(part, "wb") as new:
        new.write(text)
    os.replace(part, file)
    return folder


def main(arguments: Sequence[str]) -> int:
    """`-- command`: become the command, with the probe in every Python process below it."""
    words = list(arguments)
    if words[:1] == ["--"]:
        words = words[1:]
    elif not words or words[0].startswith("-"):
        sys.stderr.write("usage: trainwatch_probe.py -- COMMAND [ARGUMENT ...]\n")
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    if not words:
        sys.stderr.write("usage: trainwatch_probe.py -- COMMAND [ARGUMENT ...]\n")
        return 2
    environ = dict(os.environ)
    try:
        folder = hook_folder(os.path.realpath(__file__))
        parts = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part != folder]
        environ["PYTHONPATH"] = os.pathsep.join([folder, *(part for part in parts if part)])
    except OSError as error:
        sys.stderr.write(f"trainwatch probe: the command runs without it: {error}\n")
    try:
        os.execvpe(words[0], words, environ)  # noqa: S606  it is the user's command
    except OSError as error:
        sys.stderr.write(f"trainwatch probe: cannot run {words[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126


STARTED_BY: str
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
elif __name__ == "trainwatch_probe":
    start(globals().get("STARTED_BY", ""))
