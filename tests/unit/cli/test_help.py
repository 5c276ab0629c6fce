"""What a person waits for who only asks how a command is used."""

import subprocess
import sys

from pipeline.cli import COMMANDS

# Each takes a tenth of a second or more to import, and none is needed to say which words a command takes.
SLOW = ("faust", "aiokafka", "kafka", "clickhouse_driver", "pydantic", "psutil", "pipeline.detect.detector")
KNOWN_SLOW = {"demo", "settings", "worker"}
PROGRAM = """
import sys
from click.testing import CliRunner
from pipeline.cli import main
for word in sys.argv[1:]:
    assert CliRunner().invoke(main, [word, "--help"]).exit_code == 0, word
    for slow in %r:
        assert slow not in sys.modules, f"{word} imports {slow}"
"""


def test_help_imports_nothing_slow() -> None:
    """Of all commands but a few, so that pressing tab and reading help is quick."""
    words = [word for word in COMMANDS if word not in KNOWN_SLOW]
    done = subprocess.run([sys.executable, "-c", PROGRAM % (SLOW,), *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
