"""Release, bill of materials: what is refused, and that the same lock gives the same document."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

import pipeline
from deploy import sbom

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_bill_names_every_locked_package() -> None:
    """With version, package URL and hashes, and what trainwatch itself asks for."""
    made = sbom.document(LOCK, ["faust-streaming", "PyYAML"], "1.2.3", 1_700_000_000)
    locked = {line.split("==")[0].lower().replace("_", "-") for line in LOCK.splitlines() if "==" in line}
    *parts, carried = made["components"]
    assert {part["name"] for part in parts} == locked
    for part in parts:
        assert part["purl"] == part["bom-ref"] == f"pkg:pypi/{part['name']}@{part['version']}"
        assert part["hashes"]
        assert all(len(each["content"]) == 64 for each in part["hashes"])
    refs = [part["bom-ref"] for part in made["components"]]
    assert len(refs) == len(set(refs))
    [root] = made["dependencies"]
    assert root["ref"] == "pkg:pypi/trainwatch@1.2.3"
    assert [ref.partition("@")[0] for ref in root["dependsOn"]] == ["pkg:npm/echarts", "pkg:pypi/faust-streaming", "pkg:pypi/pyyaml"]
    library = (ROOT / "pipeline" / "dashboard" / "echarts" / "echarts.min.js").read_bytes()
    assert carried["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(library).hexdigest()}]
    assert carried["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert made["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_the_bill_is_the_same_for_the_same_lock() -> None:
    """And another one for another lock or release; without a time of the commit it has none."""
    first = sbom.document(LOCK, [], "1.2.3", None)
    assert first == sbom.document(LOCK, [], "1.2.3", None)
    assert "timestamp" not in first["metadata"]
    others = [sbom.document(LOCK, [], "1.2.4", None), sbom.document(LOCK.replace("==", "==0", 1), [], "1.2.3", None)]
    assert first["serialNumber"] not in {other["serialNumber"] for other in others}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A committed tree with what `release` looks at."""
    if shutil.which("git") is None:
        pytest.skip("no git here")
    for name in ("deploy/release", "deploy/lib.sh", "deploy/CHANGES.md", "pipeline/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "all")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=u017", "-c", "user.email=u017@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *who, *words], check=True, timeout=60)  # noqa: S607


def refusal(folder: Path) -> str:
    """What `release` says before it would build."""
    done = subprocess.run([folder / "deploy" / "release"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert not (folder / "dist").exists()
    return done.stderr


def test_a_release_is_of_a_commit(checkout: Path) -> None:
    """A tree that differs from its commit is refused, be it by a file that git does not know."""
    assert "differs" not in refusal(checkout)
    (checkout / "stray.txt").write_text("x")
    assert "the tree differs from its commit" in refusal(checkout)


def test_a_release_is_described(checkout: Path) -> None:
    """Under its number."""
    changes = checkout / "deploy" / "CHANGES.md"
    changes.write_text(changes.read_text(encoding="utf-8").replace(f"## {pipeline.__version__}\n", "## 0.0.0\n"), encoding="utf-8")
    git(checkout, "commit", "--quiet", "--all", "--message", "another")
    assert f"no heading ## {pipeline.__version__}" in refusal(checkout)


def test_a_release_happens_once(checkout: Path) -> None:
    """A number that another commit had is not used again."""
    git(checkout, "tag", f"v{pipeline.__version__}")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "later")
    assert "released already" in refusal(checkout)


KEPT = sorted((ROOT / "tests" / "releases").glob("*.gz"))


def test_there_is_a_release_to_upgrade_from() -> None:
    """Without a file the test of the upgrade would pass with nothing."""
    assert KEPT


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_releases_are_small_and_named(path: Path) -> None:
    """Where the procedure speaks of them."""
    assert path.stat().st_size < 200_000
    assert f"`{path.stem.partition('-')[2]}`" in (DEPLOY / "RELEASE.md").read_text(encoding="utf-8")


def test_what_operators_read_fits_their_terminal() -> None:
    """No line of the changes is wider than 152 columns."""
    lines = (DEPLOY / "CHANGES.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 152] == []
