"""Who may open the folders: by Grafana's HTTP interface, since its provisioning files cannot say it.

    GRAFANA_URL=https://grafana.example GRAFANA_TOKEN=... python deploy/grafana/permissions.py --investigators 3 --operators 4

Takes ids of two teams.  Investigators may view both folders, operators that of the pipeline; nobody else but administrators sees either,
because the dashboards name people who may be innocent.  Standard library only; running it again changes nothing.

This tidies, and protects no data: rights on folders are for dashboards, and by default every viewer of an organisation may send any query
to any of its data sources, by Grafana's HTTP interface too.  Keep people out by an organisation: that of the investigators has a data
source with the account trainwatch_grafana; another one, for who runs the pipeline, has the folder `trainwatch operation` and a data
source with the account trainwatch_grafana_pipeline, which sees neither lines nor suspects (deploy/sql/roles.sql).  Or by a data source's
own permissions, which Grafana Enterprise has.

Not verified here: there was no Grafana; a test looks at what would be set, and asks nobody.
"""

import argparse
import json
import os
import sys
import urllib.parse
import urllib.request
from typing import Any

VIEW = 1
LOOPBACK = ("localhost", "127.0.0.1", "::1")
INVESTIGATION, OPERATION = "trainwatch-investigation", "trainwatch-operation"


def permissions(investigators: int, operators: int) -> dict[str, list[dict[str, int]]]:
    """Folder uid -> its whole list: what is not in it, such as the default for all viewers, is taken away."""
    of = {name: {"teamId": team, "permission": VIEW} for name, team in (("investigators", investigators), ("operators", operators))}
    return {INVESTIGATION: [of["investigators"]], OPERATION: [of["investigators"], of["operators"]]}


def refusal(address: str) -> str:
    """Why no token is sent to this address; empty: it may be."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return "set GRAFANA_URL to where Grafana is, such as https://grafana.example"
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return "GRAFANA_URL is http:// to another machine, where the network reads the token: use https://"
    return ""


def requests(address: str, token: str, wanted: dict[str, list[dict[str, int]]]) -> list[urllib.request.Request]:
    """One request per folder.  The token goes to this address alone: urllib would send ordinary headers on after a redirect."""
    made = []
    for folder, items in wanted.items():
        body: dict[str, Any] = {"items": items}
        url = f"{address.rstrip('/')}/api/folders/{folder}/permissions"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST")  # noqa: S310  the operator's
        request.add_unredirected_header("Authorization", f"Bearer {token}")
        made.append(request)
    return made


def main(arguments: list[str]) -> int:
    """Send them; an answer other than 2xx ends with its text."""
    parser = argparse.ArgumentParser(description="Let two teams, and nobody else, view trainwatch's folders in Grafana.")
    parser.add_argument("--investigators", type=int, required=True, help="id of the team that sees findings and people")
    parser.add_argument("--operators", type=int, required=True, help="id of the team that runs the pipeline")
    asked = parser.parse_args(arguments)
    address, token = (os.environ.get(name, "") for name in ("GRAFANA_URL", "GRAFANA_TOKEN"))  # noqa: TID251  a script of its own
    if why := refusal(address) or ("" if token else "set GRAFANA_TOKEN in the environment"):
        parser.error(why)
    for request in requests(address, token, permissions(asked.investigators, asked.operators)):
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  same
            sys.stdout.write(f"{request.full_url}: {answer.status}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
