"""README's commands, as a reader would copy them, and which of them no test runs.

    fenced blocks without a language, indented blocks     each line that begins as a command does, without the comment behind it
    `...` in the text                                     the same, unless it only names what stands elsewhere with its arguments

`tests/integration/test_demo.py` runs all that NOT_RUN does not name, in their order, on the demo's data; `tests/unit/test_readme.py` holds
NOT_RUN against README, so that nothing stays there that a reader cannot see any more.
"""

import os
import re
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = {"trainwatch", ".venv/bin/python", "python", "pip", "helm", "apt-get", "squeue", "eval"}

_INSTALLS = "installs packages"
_BENCH = "minutes to hours, on a quiet machine: tests/integration/test_bench.py runs each job small"

# Command -> why no test runs it as it stands.
NOT_RUN = {
    "./deploy/quickstart": f"{_INSTALLS}; its last step, `trainwatch demo`, is run",
    "./deploy/test": "runs these tests",
    "./deploy/test -k watermark": "runs tests",
    "./deploy/test --long": "runs tests",
    ".venv/bin/python -m pytest -n 2 --dist loadfile tests/unit": "runs tests",
    "trainwatch demo && deploy/grafana/take-pictures": "writes the pictures of the repository",
    "trainwatch worker": "runs until a signal: the demo runs one",
    "trainwatch simulate --plot campaign --out campaign": "tests/scenario/test_campaign.py plays it",
    'trainwatch --settings campaign/trainwatch.yaml analyse campaign/logs.*.jsonl --cases cases --reply u005 "No." --rumour 8000 61':
        "tests/scenario/test_campaign.py judges it",
    "trainwatch incident reveal": "named, not shown whole: tests/integration/test_incident.py",
    "trainwatch evidence erase": "named, not shown whole: tests/integration/test_evidence.py",
    "apt-get install chromium": _INSTALLS,
    "deploy/test-wheel": "a phase of deploy/test",
    "deploy/lock": "asks a package registry",
    "deploy/audit": "asks a package registry",
    "deploy/record-release": "named, not shown whole: tests/integration/test_upgrade.py reads what it recorded",
    "deploy/release": "builds for minutes: tests/unit/deploy/test_release.py reads it",
    "deploy/compose/start": "needs a container engine: tests/unit/deploy/test_compose.py reads the file",
    "pip install 'trainwatch[bench]'": _INSTALLS,
    "pip install ./pipeline/probe": _INSTALLS,
    "python -m deploy.grafana.generate": "writes into the repository: tests/unit/dashboard/test_boards.py compares",
    "python pipeline/probe/measure.py": "measures for a minute",
    "helm install trainwatch deploy/helm/trainwatch -f site.yaml": "needs a cluster: tests/unit/deploy/test_helm.py reads the chart",
    "trainwatch bench": _BENCH,
    "trainwatch bench ingest | full-json | full-auditd | mix | join [--disordered | --hosts] | latency | scale | rebalance":
        f"a choice; {_BENCH}",
    "trainwatch bench idle | state | memory | formats | dashboards | seal": f"a choice; {_BENCH}",
    "trainwatch bench seal": _BENCH,
    "trainwatch bench mix --local --profile whole": _BENCH,
    "trainwatch bench faults --seeds 3 --results FILE": "an hour: tests/faults breaks the same things",
    "trainwatch bench soak --minutes 120 --rate 150": "two hours: tests/faults has a short one",
    "trainwatch bench fuzz --minutes 60": "an hour, in search of inputs that nobody thought of",
    "trainwatch bench dashboards --events 100000000": _BENCH,
}  # fmt: skip


def commands(text: str = README) -> list[str]:
    """In their order, each once."""
    typed: list[str] = []
    named: list[tuple[int, str]] = []
    paragraph: list[str] = []
    fence = ""
    for line in [*text.splitlines(), ""]:
        shown = fence == "```" or (not fence and line.startswith("    "))
        if fence or shown or line.startswith("```") or not line.strip():
            named += [(len(typed), each) for each in re.findall(r"`([^`]+)`", " ".join(paragraph))]
            paragraph = []
        else:
            paragraph.append(line)
        if line.startswith("```"):
            fence = "" if fence else line
        elif shown:
            typed.append(re.sub(r"\s+# .*", "", line.strip()))
    elsewhere = [command.split() for command in chain(typed, (each for _, each in named))]
    whole = [each for each in named if not any(_begins(other, each[1].split()) for other in elsewhere)]
    for at, each in reversed(whole):
        typed.insert(at, each)
    return [*dict.fromkeys(filter(_is_command, typed))]


def _is_command(line: str) -> bool:
    """A program with something to do, or a file of the repository that can be run."""
    first, _, rest = line.partition(" ")
    if first.startswith(("./deploy/", "deploy/")):
        return (ROOT / first).is_file() and os.access(ROOT / first, os.X_OK)
    return first in PROGRAMS and rest != ""


def _begins(whole: list[str], words: list[str]) -> bool:
    return len(words) < len(whole) and whole[: len(words)] == words
