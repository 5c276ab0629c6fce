"""What an attacker's text could be run by: nothing in the package unpickles, evaluates, or hands text to a shell.

ruff refuses most of it; this test also holds where somebody silences ruff.
"""

import ast
import re
from pathlib import Path

import pytest

import pipeline

# Objects from bytes, and code from text.  The probe looks for these in other people's jobs and names them, but calls none.
FORBIDDEN = frozenset({
    "eval", "exec", "compile", "pickle.load", "pickle.loads", "marshal.load", "marshal.loads", "shelve.open", "yaml.load", "yaml.full_load",
    "yaml.unsafe_load", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "joblib.load", "numpy.load",
    "torch.load", "dill.loads", "cloudpickle.loads",
})  # fmt: skip


WORTH_A_LOOK = re.compile(r"\b(?:" + "|".join({name.rpartition(".")[2] for name in FORBIDDEN}) + r")\s*\(|\bshell\s*=")


def faults(text: str) -> list[str]:
    """Calls that make objects or code of input, and shells."""
    found: list[str] = []
    if not WORTH_A_LOOK.search(text):
        return found
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            name = f"{node.func.value.id}.{node.func.attr}"
        shell = next((keyword.value for keyword in node.keywords if keyword.arg == "shell"), None)
        if name in FORBIDDEN or (shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False)):
            found.append(f"{name} in line {node.lineno}")
    return found


def test_nothing_is_run_that_was_read() -> None:
    """No pickle, no `yaml.load`, no `eval`, no shell, in the package and in what is deployed with it."""
    package = Path(pipeline.__file__).parent
    files = sorted(path for folder in (package, package.parent / "deploy") for path in folder.rglob("*.py"))
    assert len(files) > 100
    assert {str(path): found for path in files if (found := faults(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "text", ["pickle.loads(x)", "yaml.load(x)", "eval(x)", "subprocess.run(x, shell=True)", "subprocess.run(x, shell=y)", "os.system(x)"]
)
def test_it_would_be_seen(text: str) -> None:
    """Each kind, so that the test above cannot pass by looking for nothing."""
    assert len(faults(text)) == 1
