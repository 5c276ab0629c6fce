"""`trainwatch incident reveal`: who stands behind a pseudonym, for whoever works on an open incident in which it occurs.

No table says who is who.  The key of the pseudonyms is tried on the names of the identity map and on the words of the raw lines that the
incident cites; so it takes the key, the right to read raw bytes, and an incident; and a row of `custody_log` that is written before the
answer is looked for.  Whoever is refused has one too: that somebody tried is what the log is for.
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import suppress

import click
import msgspec
import orjson

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.asking import account, clickhouse
from pipeline.cli.console import safe
from pipeline.cli.incident_read import read, resolve
from pipeline.cli.times import now_ms
from pipeline.errors import ConfigError, TrainwatchError
from pipeline.incidents.report import Report, as_json, newest
from pipeline.model.privacy import Pseudonyms
from pipeline.model.words import many
from pipeline.sink.evidence import Custody, note

REFUSED, NOT_FOUND = 3, 4  # exit codes
TOKEN = re.compile(r"p-[0-9a-f]{10}|uid:[0-9]{4,10}")
LINES = (
    "SELECT base64Encode(raw) FROM {db}.events WHERE event_id IN "
    "(SELECT event_id FROM {db}.finding_evidence_current WHERE finding_id IN %(findings)s) OR event_id IN %(ids)s"
)
_WORDS = (re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+/=\\-]*"), re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*"), re.compile(r"[A-Za-z0-9]+"))


@click.command(epilog=examples("incident reveal 5f0c2e p-7f3a90c1d2 --reason CASE-4"))
@click.argument("incident_id")
@click.argument("pseudonym")
@click.option("--reason", required=True, help="Why you must know; it stands in the custody log with your account.")
@click.option("--json", "as_json_too", is_flag=True, help="One JSON object.")
@click.pass_obj
def reveal(options: Options, incident_id: str, pseudonym: str, reason: str, *, as_json_too: bool) -> None:
    """Tell the names behind PSEUDONYM (p-7f3a90c1d2, or uid:2893471120), which occurs in open incident INCIDENT_ID.

    It needs the key of the pseudonyms, and stands in the custody log before anything is told.

    Exit 0: told; 3: refused; 4: nothing is known under the id, or nobody is found behind the pseudonym; 5: several ids begin so.
    """
    if not TOKEN.fullmatch(pseudonym) or not reason.strip():
        raise click.UsageError("a pseudonym looks like p-7f3a90c1d2 or uid:2893471120, and --reason must say something")
    pseudonyms = _pseudonyms(options, f"{pseudonym}: {reason}", incident_id)
    with clickhouse(options) as database:
        known = resolve(database, incident_id)
        found = read(database, known)
        if why := _refusal(found, pseudonym):
            note(database, Custody(now_ms(), account(), "reveal refused", known, f"{pseudonym}: {reason}: {why}"))
            say(f"refused: {why}")
            raise SystemExit(REFUSED)
        note(database, Custody(now_ms(), account(), "revealing", known, f"{pseudonym}: {reason}"))
        cited = {"findings": [each.finding for each in found.incident.members] or [""], "ids": list(found.lines) or [""]}
        lines = [b64decode(encoded).decode("utf-8", "replace") for (encoded,) in database.query(LINES, cited)]
        if pseudonym.startswith("p-"):
            names = pseudonyms.behind(pseudonym, _candidates(options, lines))
        else:
            uid = pseudonyms.uid_behind(int(pseudonym.removeprefix("uid:")))
            names = [f"uid {uid}", *sorted({name for each in options.settings.identities if each.uid == uid for name in each.all_names()})]
        note(database, Custody(now_ms(), account(), "revealed", known, f"{pseudonym}: {many(len(names), 'name')} told"))
    if as_json_too:
        say_json(orjson.dumps({"pseudonym": pseudonym, "incident": known, "names": names}))
    else:
        for name in names:
            click.echo(safe(name))
    if not names:
        say(f"{pseudonym} is nobody of the identity map and no word of the raw lines that the incident cites; another key, perhaps")
        raise SystemExit(NOT_FOUND)


def _pseudonyms(options: Options, asked: str, incident_id: str) -> Pseudonyms:
    """Those of the site.  Raises ConfigError when there are none, or this account has not their key; that it asked is noted then."""
    try:
        pseudonyms = options.settings.veil().pseudonyms
    except ConfigError as error:
        with suppress(TrainwatchError), clickhouse(options) as database:  # why it cannot be noted is another matter than why it is refused
            note(database, Custody(now_ms(), account(), "reveal refused", incident_id, f"{asked}: {error}"))
        raise
    if pseudonyms is None:
        raise ConfigError("privacy.pseudonyms is off: there is nothing to reveal", advice="Use the settings with which the workers run.")
    return pseudonyms


def _refusal(found: Report, pseudonym: str) -> str:
    """Why nobody may know; empty: he may."""
    if found.incident.status == "retracted":
        return "the incident was taken back"
    if newest(found.journal, "status") == "closed":
        return "the incident is closed: `trainwatch incident status ID investigating --why ...` opens it again, on record"
    said = as_json(msgspec.structs.replace(found, lines={}, journal=())).decode()  # not what anybody could write there himself
    wanted = re.escape(pseudonym).replace("uid:", "uid[:= ]")
    return "" if re.search(rf"(?<![A-Za-z0-9]){wanted}(?![A-Za-z0-9])", said) else "it does not occur in this incident"


def _candidates(options: Options, lines: Sequence[str]) -> Iterator[str]:
    for identity in options.settings.identities:
        yield from identity.all_names()
    for line in lines:
        for words in _WORDS:
            yield from words.findall(line)
