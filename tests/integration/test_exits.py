"""What commands end with while neither Kafka nor ClickHouse answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.evidence.signing import make_key
from tests.conftest import ROOT
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers  # for the connections, which come to nothing: none is started

AWAY = [
    "verify", "migrate status", "finding list", "finding show abcdef", "job explain 1", "label --list", "label --summary",
    "label abcdef true", "incident list", "incident show abcdef", "incident note abcdef text", "incident presence abcdef",
    "evidence heads", "evidence log", "evidence verify", "evidence export abcdef", "evidence hold abcdef", "evidence hold",
    "evidence release abcdef", "evidence erase --event e --reason r", "dashboard job", "up", "topics list", "dlq list", "notify",
    "notify --once", "label --from-topic", "label --from-topic --once", "state save state.gz", "worker",
]  # fmt: skip
SETTINGS = """
kafka: {bootstrap_servers: "127.0.0.1:1"}
clickhouse: {host: 127.0.0.1, port: 1}
embedded: {directory: servers}
evidence: {key_file: key}
notify: {state_file: notify.sqlite, targets: [{name: chat, url: "http://127.0.0.1:1/"}]}
"""
# One process for all: each would import the libraries again; and Kafka's client leaves sockets behind when it reaches nobody.
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[2])
from click.testing import CliRunner
from pipeline.cli import main
from pipeline.runtime import access
access.FIRST_ANSWER_MS = 200
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, words.split())
    print(json.dumps([words, done.exit_code, done.stderr]))
"""


def test_servers_that_do_not_answer_are_exit_1(tmp_path: Path) -> None:
    """With the address and what to do, also of services that wait for them once they run."""
    make_key(tmp_path / "key", 1_772_420_000_000)
    (tmp_path / "trainwatch.yaml").write_text(SETTINGS)
    command = [sys.executable, "-c", PROGRAM, json.dumps(AWAY), str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [words for words, *_ in told] == AWAY
    assert [each for each in told if each[1] != 1 or "127.0.0.1:1" not in each[2] or "what to do: " not in each[2]] == []
