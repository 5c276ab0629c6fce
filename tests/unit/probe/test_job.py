"""Jobs under the probe: what is told, in which order, and that the job does not notice.

All jobs are processes of their own with a torch and a safetensors that open files as the real ones do.
"""

import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import jsonschema
import orjson
import pytest

from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import probe
from pipeline.settings import schemas_folder
from tests.unit.probe.job import PROBE, Ran, run, run_command

SCHEMA = jsonschema.Draft202012Validator(orjson.loads((schemas_folder() / "events" / "trainwatch_probe.v1.schema.json").read_bytes()))
MAIN = {"module": "__main__"}
SAVE_AND_LOAD = """
import torch
torch.save({"step": 100}, "step100.pt")
print(torch.load("step100.pt"), torch.save.__doc__)
"""
EVERYTHING = """
import os, pickle, signal, socket, subprocess, sys
import torch, safetensors.torch
torch.save({"step": 100}, "step100.pt")
torch.load("step100.pt")
safetensors.torch.save_file({}, "m.safetensors")
safetensors.torch.load_file("m.safetensors")
with open("plain.ckpt", "wb") as file:
    pickle.dump(os.system, file)
with open("plain.ckpt", "rb") as file:
    pickle.load(file)
subprocess.run(["true", "--token", "hunter2"], check=True)
os.system("true")
with socket.socket() as server:
    server.bind(("127.0.0.1", 0))
    server.listen()
    socket.create_connection(server.getsockname()).close()
os.kill(os.getpid(), signal.SIGURG)
"""


def sha256(path: Path) -> str:
    """Of a file as it is now."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def interpreters() -> list[str]:
    """This one, and others that are installed and run."""
    found = [sys.executable]
    for version in ("3.8", "3.9", "3.10", "3.12", "3.13", "3.14"):
        path = shutil.which(f"python{version}")
        if path and subprocess.run([path, "-I", "-c", ""], capture_output=True, check=False).returncode == 0:
            found.append(path)
    return found


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_every_line_is_read_by_the_format(tmp_path: Path, python: str) -> None:
    """What the probe writes is what schema and parser take, of every kind and on every interpreter; one line fits one write."""
    ran = run(tmp_path, EVERYTHING, python=python, PYTHONSTARTUP=str(tmp_path / "train.py"))
    assert (ran.code, ran.err) == (0, "")
    assert {fact["kind"] for fact in ran.facts} == set(probe._KINDS)
    reading = Reading(zone=ZoneInfo("UTC"), reference_time=ran.facts[0]["time_ms"])
    for line, fact in zip(ran.lines, ran.facts, strict=True):
        SCHEMA.validate(fact)
        format_, (event,) = registry.parse(Line(payload=line), reading)
        assert format_ is probe.FORMAT
        assert (event.event_time, event.host) == (fact["time_ms"], "gpu-012")
        assert len(line) < 4096
    assert sorted(fact["seq"] for fact in ran.facts) == [*range(1, len(ran.lines) + 1)]  # two threads may write at the same time


def test_a_rank_says_who_it_is(tmp_path: Path) -> None:
    """Job, host and ranks come from the launcher's environment, and the interpreter's version beside them."""
    ran = run(tmp_path, "", RANK="11", LOCAL_RANK="3", SLURM_PROCID="1")
    fact = ran.facts[0]
    assert fact["kind"] == "process_started"
    assert (fact["job"], fact["host"], fact["rank"], fact["local_rank"]) == ("48213", "gpu-012", 11, 3)
    assert ran.facts[-1]["what"] == "exiting"


def test_without_a_scheduler_no_job_is_made_up(tmp_path: Path) -> None:
    """The pipeline knows it from the file or the container."""
    ran = run(tmp_path, "", SLURM_JOB_ID="")
    assert all("job" not in fact for fact in ran.facts)


def test_torch_is_told_although_it_opens_files_in_c(tmp_path: Path) -> None:
    """The hash at save and at load is that of the file; the job sees its own functions' answers and names."""
    ran = run(tmp_path, SAVE_AND_LOAD)
    path = tmp_path / "step100.pt"
    assert ran.out == "{'step': 100} Saves.\n"
    for kind in ("checkpoint_saved", "checkpoint_loaded"):
        fact = ran.one(kind)
        assert (fact["path"], fact["sha256"], fact["size_bytes"]) == (str(path), sha256(path), path.stat().st_size)


def test_safetensors_are_told(tmp_path: Path) -> None:
    """Its functions are bound by name in `safetensors.torch`, which is imported after they are wrapped."""
    ran = run(tmp_path, "from safetensors.torch import load_file, save_file\nsave_file({}, 'm.safetensors')\nload_file('m.safetensors')")
    assert ran.one("checkpoint_saved")["sha256"] == ran.one("checkpoint_loaded")["sha256"] == sha256(tmp_path / "m.safetensors")


def test_a_plain_file_is_told_when_it_is_closed(tmp_path: Path) -> None:
    """Of bytes that were written bit by bit the last are in the hash, as long as the process has it open."""
    script = """
import time
with open("a.ckpt", "wb") as file:
    file.write(b"one")
    file.flush()
    time.sleep(0.4)
    file.write(b"two")
"""
    ran = run(tmp_path, script)
    assert ran.one("checkpoint_saved")["sha256"] == hashlib.sha256(b"onetwo").hexdigest()


@pytest.mark.parametrize(
    "script",
    [
        "import os\nopen('a.tmp', 'wb').write(b'x')\nos.replace('a.tmp', 'final/a.pt')",
        "import os\nopen('a.pt', 'wb').write(b'x')\nos.rename('a.pt', 'final/a.pt')",
        "import os\nos.mkdir('part')\nopen('part/a.pt', 'wb').write(b'x')\nos.rmdir('final')\nos.rename('part', 'final')",
    ],
    ids=["to the name of a checkpoint", "of a checkpoint", "of its folder"],
)
def test_a_save_is_told_under_the_name_it_ends_with(tmp_path: Path, script: str) -> None:
    """Writers that write aside and rename are the rule."""
    (tmp_path / "final").mkdir()
    ran = run(tmp_path, script)
    assert ran.of("checkpoint_saved")[-1]["path"] == str(tmp_path / "final/a.pt")


def test_a_link_is_told_as_the_file_it_names(tmp_path: Path) -> None:
    """A load past `latest` is a load of what was saved."""
    script = "import os, torch\nos.mkdir('step1')\ntorch.save(1, 'step1/m.pt')\nos.symlink('step1', 'latest')\ntorch.load('latest/m.pt')"
    ran = run(tmp_path, script)
    assert ran.one("checkpoint_loaded")["path"] == ran.one("checkpoint_saved")["path"] == str(tmp_path / "step1/m.pt")


# --- modules, hooks, environment --------------------------------------------------------------------------------------------------


def test_modules_are_told_with_their_hashes(tmp_path: Path) -> None:
    """The job's script and packages, those that come later too; the standard library is left out."""
    ran = run(tmp_path, "import time, colorsys\ntime.sleep(0.3)\nimport importlib\nimportlib.import_module('torch')")
    told = {fact["module"]: fact for fact in ran.of("module_imported")}
    assert {"__main__", "torch", "torch.serialization", "native"} <= told.keys()
    assert "colorsys" not in told
    assert told["__main__"]["sha256"] == sha256(tmp_path / "train.py")
    packages = tmp_path / "site-packages" / "torch"
    assert (told["torch"]["path"], told["torch"]["sha256"]) == (str(packages / "__init__.py"), sha256(packages / "__init__.py"))
    (compiled,) = (packages / "__pycache__").glob("__init__.*.pyc")
    assert told["torch"]["cached_sha256"] == sha256(compiled)


def test_a_module_that_is_changed_and_reloaded_is_told_again(tmp_path: Path) -> None:
    """Its name alone says nothing."""
    script = """
import importlib, time, native
time.sleep(0.3)
with open(native.__file__, "a") as file:
    file.write("changed = True\\n")
importlib.reload(native)
"""
    first, second = run(tmp_path, script).of("module_imported", module="native")
    assert first["sha256"] != second["sha256"] == sha256(tmp_path / "site-packages/native.py")


def test_hooks_are_told_before_the_job_runs(tmp_path: Path) -> None:
    """A sitecustomize of the site is told, and still runs; ours is not told as one."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('the site')\n")
    ran = run(tmp_path, "import sitecustomize, sys\nprint(sitecustomize.__file__)", PYTHONPATH=str(own))
    fact = ran.one("hook_found", hook="sitecustomize")
    assert (fact["path"], fact["sha256"]) == (str(own / "sitecustomize.py"), sha256(own / "sitecustomize.py"))
    assert ran.out.splitlines() == ["the site", str(own / "sitecustomize.py")]
    assert not [fact for fact in ran.of("module_imported") if "trainwatch-probe" in fact["path"]]


def test_an_error_in_the_sites_hook_stays_the_sites(tmp_path: Path) -> None:
    """The interpreter says so, as it does without the probe, and goes on."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import no_such_module\n")
    probed, bare = (run(tmp_path, "print('done')", probed=probed, PYTHONPATH=str(own)) for probed in (True, False))
    assert (probed.code, probed.out) == (bare.code, bare.out) == (0, "done\n")
    assert "no_such_module" in probed.err


def test_variables_that_steer_are_told_and_secrets_are_not(tmp_path: Path) -> None:
    """Paths in plain, other settings by hash, and nothing of what may be secret, in variables, arguments or shell lines."""
    script = """
import os, subprocess
subprocess.run(["true", "--api-key", "hunter2", "--password=hunter2", "https://u017:hunter2@gpu-012/x"], check=True)
os.system("true --token hunter2; AWS_SECRET_ACCESS_KEY=hunter2 true; true 'Authorization: Bearer hunter2'")
"""
    endpoint = "https://u017:hunter2@gpu-012"
    ran = run(tmp_path, script, HF_TOKEN="hunter2", NCCL_SOCKET_IFNAME="ib0", CUDA_VISIBLE_DEVICES="0,1", HF_ENDPOINT=endpoint)  # noqa: S106
    told = {fact["name"]: fact.get("value") for fact in ran.of("environment_set")}
    assert (told["CUDA_VISIBLE_DEVICES"], told["NCCL_SOCKET_IFNAME"], told["HF_ENDPOINT"]) == ("0,1", None, None)
    assert told["PYTHONPATH"] == str(tmp_path / "site-packages")
    assert "HF_TOKEN" not in told
    assert b"hunter2" not in b"".join(ran.lines)


# --- what may do harm -------------------------------------------------------------------------------------------------------------


def kinds(ran: Ran) -> list[str]:
    """What was told, in order."""
    return [fact["kind"] for fact in ran.facts]


def test_a_module_that_kills_as_it_is_imported_is_told_first(tmp_path: Path) -> None:
    """Its hash and the kill are out before the kill is done, since nothing comes after."""
    (tmp_path / "helper.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    ran = run(tmp_path, "import helper")
    assert ran.code == -signal.SIGKILL
    module, kill = ran.one("module_imported", module="helper"), ran.one("signal_requested")
    assert module["sha256"] == sha256(tmp_path / "helper.py")
    assert module["seq"] < kill["seq"]
    assert (kill["signal"], kill["target_pid"], kill["pid"]) == (9, kill["pid"], module["pid"])
    assert kill["through"][0] == module["path"]
    assert not any("trainwatch_probe" in each for each in kill["through"])
    assert kinds(ran)[-1] == "signal_requested"


def test_a_large_extension_does_not_hold_up_a_kill(tmp_path: Path) -> None:
    """Small modules are told before it; the large one when the thread has hashed it."""
    (tmp_path / "large.py").write_bytes(b"#" * (5 << 20) + b"\nvalue = 1\n")
    ran = run(tmp_path, "import large, native, os, signal\nos.kill(os.getpid(), signal.SIGURG)")
    kill = ran.one("signal_requested")["seq"]
    assert ran.one("module_imported", module="native")["seq"] < kill
    assert ran.one("module_imported", module="large")["sha256"] == sha256(tmp_path / "large.py")


def test_a_large_extension_in_hand_does_not_hide_what_came_behind_it(tmp_path: Path) -> None:
    """The thread has begun, and hashes a gigabyte, when the kill comes: what was imported after that is told before it."""
    with (tmp_path / "large.so").open("wb") as file:
        file.truncate(1 << 30)
    script = """
import os, signal, sys, time, types
large = sys.modules["large"] = types.ModuleType("large")
large.__file__ = os.path.abspath("large.so")
import native
time.sleep(0.3)
os.kill(os.getpid(), signal.SIGURG)
"""
    ran = run(tmp_path, script)
    assert ran.one("module_imported", module="native")["seq"] < ran.one("signal_requested")["seq"]


def test_a_trapped_checkpoint_is_told_before_it_springs(tmp_path: Path) -> None:
    """The global, the file that named it, its hash, and the program that it starts."""
    script = """
import os, torch
class Trap:
    def __reduce__(self):
        return os.system, ("kill -9 $PPID",)
torch.save(Trap(), "trap.pt")
torch.load("trap.pt")
"""
    ran = run(tmp_path, script)
    assert ran.code == -signal.SIGKILL
    path = tmp_path / "trap.pt"
    named, loaded, started = ran.one("global_unpickled"), ran.one("checkpoint_loaded"), ran.one("process_spawned")
    assert (named["module"], named["name"], named["path"]) == ("posix", "system", str(path))
    assert (loaded["path"], loaded["sha256"]) == (str(path), sha256(path))
    assert (started["means"], started["arguments"]) == ("os.system", ["kill -9 $PPID"])
    assert named["seq"] < loaded["seq"] < started["seq"]


def test_ordinary_checkpoints_name_no_global_worth_telling(tmp_path: Path) -> None:
    """And neither does asking whether a process is there."""
    script = (
        "import collections, os, torch\ntorch.save(collections.OrderedDict(a={1}), 'a.pt')\ntorch.load('a.pt')\nos.kill(os.getpid(), 0)"
    )
    ran = run(tmp_path, script)
    assert not ran.of("global_unpickled")
    assert not ran.of("signal_requested")


def test_a_flood_is_cut_and_counted_and_hides_nothing_else(tmp_path: Path) -> None:
    """Lines of one kind are limited; a note says so at once and says how many in the end; other kinds come through."""
    script = "import os, signal, torch\nfor _ in range(1000):\n    os.kill(os.getpid(), signal.SIGURG)\ntorch.save(1, 'a.pt')"
    ran = run(tmp_path, script)
    told, notes = len(ran.of("signal_requested")), ran.of("probe_note", what="left_out", about="signal_requested")
    assert 200 <= told < 300
    assert told + sum(note["count"] for note in notes) == 1000
    assert ran.of("checkpoint_saved")


# --- children ---------------------------------------------------------------------------------------------------------------------


def test_ranks_below_a_launcher_are_watched(tmp_path: Path) -> None:
    """As torchrun does it: a process that sets RANK and starts Python; what is no rank says none."""
    script = """
import os, subprocess, sys
if "RANK" not in os.environ:
    ranks = [subprocess.Popen([sys.executable, __file__], env={**os.environ, "RANK": str(n), "LOCAL_RANK": str(n)}) for n in range(2)]
    sys.exit(sum(rank.wait() for rank in ranks))
import torch
subprocess.run([sys.executable, "-c", ""], check=True)
"""
    ran = run(tmp_path, script)
    assert ran.code == 0
    assert sorted(str(fact.get("rank")) for fact in ran.of("process_started")) == ["0", "1", "None", "None", "None"]
    assert len(ran.of("module_imported", module="torch")) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing(tmp_path: Path, method: str) -> None:
    """They say what they do, and not once more what the rank has imported; a save of theirs is told before they end."""
    script = f"""
import multiprocessing, torch
def work(n):
    torch.save(n, "part%d.pt" % n)
if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    workers = [context.Process(target=work, args=(n,)) for n in range(2)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
"""
    ran = run(tmp_path, script, RANK="0", TMPDIR=tempfile.gettempdir())  # names of sockets are short
    assert ran.code == 0, ran.err
    saved = ran.of("checkpoint_saved")
    assert {fact["path"] for fact in saved} == {str(tmp_path / f"part{number}.pt") for number in range(2)}
    started = {fact["pid"]: fact.get("rank") for fact in ran.of("process_started")}
    assert all(started[fact["pid"]] is None for fact in saved)
    assert list(started.values()).count(0) == 1
    assert len(ran.of("module_imported", module="torch")) == 1


def test_a_fork_beside_the_thread_is_quiet(tmp_path: Path) -> None:
    """Python from 3.12 on warns of forks in processes with threads: ours must not be the reason."""
    script = """
import os
for number in range(20):
    with open("a%d.pt" % number, "wb") as file:
        file.write(bytes(1 << 16))
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
"""
    ran = run(tmp_path, script, options=("-W", "error"))
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.of("checkpoint_saved")) == 20


# --- the job does not notice ------------------------------------------------------------------------------------------------------

HOSTILE = {
    "modules that are none": "import sys\nsys.modules['odd'] = object()\nsys.modules['none'] = None\nsys.modules[3] = 4\nimport torch",
    "paths that raise": """
import torch
class Path:
    def __fspath__(self):
        raise ZeroDivisionError
try:
    torch.load(Path())
except ZeroDivisionError:
    print("raised")
""",
    "paths that are no text": """
import os
open(b"\\xff.pt", "wb").close()
os.rename(b"\\xff.pt", b"\\xfe.pt")
open(b"\\xfe.pt", "rb").close()
""",
    "a wrong call": "import torch\ntry:\n    torch.save()\nexcept TypeError as error:\n    print(error)",
    "nothing left": "import json, sys, os\njson.dumps = os.write = None\nsys.modules.clear()",
    "a pipe with a checkpoint's name": "import os\nos.mkfifo('a.pt')\nfd = os.open('a.pt', os.O_RDWR)\nos.close(fd)",
    "exit code": "import sys\nsys.exit(7)",
    "exit in a thread": "import os, threading\nt = threading.Thread(target=lambda: os._exit(3))\nt.start()\nt.join()",
    "tampered probe": """
import sys
if "trainwatch_probe" in sys.modules:
    sys.modules["trainwatch_probe"].time = sys.modules["trainwatch_probe"].os = None
import torch
print(torch.load.__name__)
""",
    "where it is": "import sys\nprint(sys.path, sys.argv, __name__)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_job_does_not_notice(tmp_path: Path, name: str) -> None:
    """Code, output and errors are the same with the probe and without it."""
    probed = run(tmp_path, HOSTILE[name], options=("-W", "error"))
    for path in tmp_path.glob("*.pt"):
        path.unlink()
    bare = run(tmp_path, HOSTILE[name], probed=False, options=("-W", "error"))
    assert (probed.code, probed.out, probed.err) == (bare.code, bare.out, bare.err)


@pytest.mark.parametrize("output", ["/no/such/folder/probe.jsonl", "fd:99", "fd:x", "/dev/full"])
def test_an_output_that_cannot_be_written_is_no_matter(tmp_path: Path, output: str) -> None:
    """The job runs without."""
    ran = run(tmp_path, SAVE_AND_LOAD, TWPROBE_OUTPUT=output)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out


def test_a_closed_descriptor_is_not_written_to_when_it_is_somebody_elses(tmp_path: Path) -> None:
    """A job that closes all files and opens its own must find only its own bytes in them."""
    script = """
import os, signal, torch
os.closerange(3, 64)
files = [open("own%d" % number, "wb") for number in range(20)]
os.kill(os.getpid(), signal.SIGURG)
torch.save(1, "a.pt")
"""
    ran = run(tmp_path, script)
    assert ran.code == 0
    assert [(tmp_path / f"own{number}").read_bytes() for number in range(20)] == [b""] * 20


def test_lines_go_to_standard_error_by_default(tmp_path: Path) -> None:
    """Beside what the job writes there, each on a line of its own, also behind a progress bar."""
    script = """
import os, signal, sys, time
time.sleep(0.4)
print("\\r 5%|#   ", end="", file=sys.stderr, flush=True)
os.kill(os.getpid(), signal.SIGURG)
"""
    ran = run(tmp_path, script, TWPROBE_OUTPUT="stderr")
    assert [line for line in ran.err.splitlines() if line.startswith('{"trainwatch_probe":1,"kind":"signal_requested"')]


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    """For a job that must not be watched, in a site's script that wraps all."""
    ran = run(tmp_path, SAVE_AND_LOAD, TWPROBE="off")
    assert (ran.code, ran.lines) == (0, ())


# --- ways to run it ---------------------------------------------------------------------------------------------------------------


def test_one_import_is_enough(tmp_path: Path) -> None:
    """Also after torch was imported."""
    ran = run(
        tmp_path, f"import sys, torch\nsys.path.append({str(PROBE.parent)!r})\nimport trainwatch_probe\n{SAVE_AND_LOAD}", probed=False
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.one("checkpoint_saved")["sha256"] == ran.one("checkpoint_loaded")["sha256"]
    assert ran.one("module_imported", **MAIN)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--", "no-such-command"], 127), (["--", "/"], 126), ([], 2), (["--"], 2), (["--wrong"], 2), (["--help"], 0), (["true"], 0)],
    ids=repr,
)
def test_codes_of_the_wrapper(tmp_path: Path, arguments: list[str], code: int) -> None:
    """As `env` and shells have them."""
    assert run_command(tmp_path, [sys.executable, str(PROBE), *arguments]).code == code


def test_the_command_of_trainwatch_becomes_the_job(tmp_path: Path) -> None:
    """Options behind the command are the command's."""
    command = [sys.executable, "-m", "pipeline", "probe", "--", sys.executable, "-c", "import sys; print(sys.argv)", "--help"]
    repository = str(PROBE.parents[2])
    ran = run_command(tmp_path, command, PYTHONPATH=repository)
    assert (ran.code, ran.out) == (0, "['-c', '--help']\n")
    assert ran.of("process_started")
    shown = run_command(tmp_path, [sys.executable, "-m", "pipeline", "probe", "--file"], PYTHONPATH=repository)
    assert shown.out == f"{PROBE}\n"


def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    """Whoever guesses its name could put their own code into all jobs of a host."""
    run(tmp_path, "")
    (folder,) = tmp_path.glob("trainwatch-probe-*")
    folder.chmod(0o777)
    (folder / "sitecustomize.py").write_text("print('not ours')\n")
    ran = run(tmp_path, "print('job')")
    assert ran.out == "job\n"
    assert ran.of("process_started")
