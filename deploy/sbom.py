"""requirements.lock, and what the package carries of others, in; a CycloneDX 1.6 document of what trainwatch runs with out.

The same bytes for the same lock, files and release.

    python3 deploy/sbom.py [SECONDS] > trainwatch.cdx.json      SECONDS since 1970 become its time; without, it has none

Each package has its package URL and the hashes of all files that the lock accepts for it.  What pyproject.toml asks for is named as what
trainwatch depends on; the packages behind those are listed, and who of them asks for whom is not said, since the lock does not know.
"""

import json
import re
import sys
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CARRIED = [ROOT / "pipeline" / "dashboard" / "echarts" / "about.json"]  # files of others inside the package
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/trainwatch")
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def normalised(name: str) -> str:
    """A name as package URLs write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(lock: str) -> list[tuple[str, str, list[str]]]:
    """Name, version and accepted hashes of each package, in order of name."""
    matches = [(match, line) for line in lock.replace("\\\n", " ").splitlines() if (match := REQUIREMENT.match(line))]
    return sorted((normalised(match[1]), match[2], sorted(HASH.findall(line))) for match, line in matches)


def component(name: str, version: str, **more: Any) -> dict[str, Any]:
    """A Python package."""
    url = f"pkg:pypi/{name}@{version}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url, **more}


def carried(about: dict[str, str]) -> dict[str, Any]:
    """A file of somebody else's that lies in the package."""
    hashes = [{"alg": "SHA-256", "content": about["sha256"]}]
    named = {key: about[key] for key in ("name", "version", "purl")}
    return {"type": "library", "bom-ref": about["purl"], **named, "licenses": [{"license": {"id": about["license"]}}], "hashes": hashes}


def document(lock: str, direct: list[str], version: str, epoch: int | None) -> dict[str, Any]:
    """The whole of it."""
    parts = [
        component(name, number, hashes=[{"alg": "SHA-256", "content": each} for each in hashes]) for name, number, hashes in packages(lock)
    ]
    inside = [carried(json.loads(path.read_text(encoding="utf-8"))) for path in CARRIED]
    refs = {part["name"]: part["bom-ref"] for part in parts}
    main = component("trainwatch", version, licenses=[{"license": {"id": "Apache-2.0"}}]) | {"type": "application"}
    metadata: dict[str, Any] = {"component": main}
    if epoch is not None:
        metadata["timestamp"] = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = sorted({refs[name] for name in map(normalised, direct)} | {part["bom-ref"] for part in inside})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{version} {lock}')}",
        "version": 1,
        "metadata": metadata,
        "components": [*parts, *inside],
        "dependencies": [{"ref": main["bom-ref"], "dependsOn": wanted}],
    }


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = [match[0] for each in project["dependencies"] if (match := re.match(r"[A-Za-z0-9._-]+", each))]
    found = re.search(r'^__version__ = "([^"]+)"', (ROOT / "pipeline" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        sys.exit("error: pipeline/__init__.py names no version")
    epoch = int(sys.argv[1]) if sys.argv[1:] else None
    made = document((ROOT / "requirements.lock").read_text(encoding="utf-8"), direct, found[1], epoch)
    json.dump(made, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
