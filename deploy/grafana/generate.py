"""Writes the dashboards: `python -m deploy.grafana.generate`; `--check` writes nothing and exits 1 when a file is not what it would be.

    json/<folder>/<name>.json                one dashboard each, provisioned by provisioning/dashboards/trainwatch.yaml
    provisioning/alerting/trainwatch.yaml    alert rules; JSON, which is YAML too, since `$` and quotes of SQL are easy to spoil by hand

Files of dashboards that are no longer there are removed.
"""

import json
import sys
from pathlib import Path
from typing import Any

from deploy.grafana import alerts
from deploy.grafana.boards import BOARDS

FOLDER = Path(__file__).parent / "json"
ALERTS = Path(__file__).parent / "provisioning" / "alerting" / "trainwatch.yaml"


def rendered() -> dict[Path, str]:
    """Path -> text of every dashboard, and of the alert rules."""
    # Grafana fills `$NAME` in provisioning files from its environment; the rules' `$values` and macros are to stay: `$$` is a `$`.
    found = {ALERTS: _text(alerts.as_json()).replace("$", "$$")}
    return found | {FOLDER / board.folder / f"{board.name}.json": _text(board.as_json()) for board in BOARDS}


def _text(body: dict[str, Any]) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def drift() -> list[Path]:
    """Files that are missing, superfluous or other than they would be."""
    wanted = rendered()
    there = {path: path.read_text(encoding="utf-8") for path in (*FOLDER.rglob("*.json"), ALERTS) if path.is_file()}
    return sorted(path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))


def main(arguments: list[str]) -> int:
    """Write, or check."""
    wrong = drift()
    for path in wrong:
        sys.stdout.write(f"{path}\n")
        if "--check" in arguments:
            continue
        text = rendered().get(path)
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if wrong and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
