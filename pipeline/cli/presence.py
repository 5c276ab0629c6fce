"""`trainwatch incident presence`: who was about when attempts ended badly, for a search; evidence against nobody (incidents/presence.py).

The design comes first: all attempts of the cluster that ended in the window of the incident, bad or not, in strata.  Its digest is written
into `custody_log`; only then it is asked who was about in which hours.  Everybody is tested, and people stand under labels.
"""

import click
import msgspec
import orjson

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.asking import account, clickhouse
from pipeline.cli.console import build_table, safe, stdout
from pipeline.cli.incident_read import body_of, resolve
from pipeline.cli.times import now_ms
from pipeline.incidents.presence import HOUR_MS, Design, Presence, everybody
from pipeline.model.identity import Directory
from pipeline.model.incident import label_of
from pipeline.model.source import FAMILIES
from pipeline.model.words import many
from pipeline.sink.evidence import Custody, note

ENDED_MAX = 20_000  # the newest ones: what is compared must fit into memory and patience
SHOWN = 20
ENDED = """
SELECT toUnixTimestamp64Milli(end_time), owner, nodes, gpus, verdict != 'benign' FROM {db}.verdicts_current
WHERE cluster = %(cluster)s AND end_time >= fromUnixTimestamp64Milli(%(first)s) AND end_time <= fromUnixTimestamp64Milli(%(last)s)
AND status != 'retracted' ORDER BY end_time DESC, verdict_id LIMIT %(most)s
"""
ABOUT = """
SELECT actor, groupUniqArray(toUnixTimestamp(toStartOfHour(ts)) * 1000) FROM {db}.events
WHERE cluster = %(cluster)s AND source IN %(sources)s AND actor != ''
AND ts >= fromUnixTimestamp64Milli(%(first)s) AND ts <= fromUnixTimestamp64Milli(%(last)s) GROUP BY actor
"""
PROVES_NOTHING = (
    "Presence proves nothing: chance is how often somebody who did nothing would be about so often, not how likely it is that somebody did "
    "nothing. It orders where to look for records of acts."
)


@click.command(epilog=examples("incident presence 5f0c2e", "incident presence 5f0c2e --json"))
@click.argument("incident_id")
@click.option("--json", "as_json_too", is_flag=True, help="One JSON object with everybody.")
@click.pass_obj
def presence(options: Options, incident_id: str, *, as_json_too: bool) -> None:
    """Test for everybody whether attempts ended badly more often while that person was about, in the window of INCIDENT_ID.

    Exit 0: tested; 4: nothing is known under this id; 5: several begin so.
    """
    directory = options.settings.veiled().directory()
    with clickhouse(options) as database:
        known = resolve(database, incident_id)
        body = body_of(database, known).incident
        hour_before = body.first // HOUR_MS * HOUR_MS
        window = {"cluster": body.cluster, "first": hour_before, "last": body.last, "most": ENDED_MAX}
        ended = database.query(ENDED, window)
        design = Design.of((end, _team(directory, owner, end), nodes, gpus, bool(bad)) for end, owner, nodes, gpus, bad in ended)
        bad = sum(trial.bad for trial in design.trials)
        said = f"presence: design {design.digest}, {many(len(design.trials), 'attempt')}, {bad} ended badly"
        note(database, Custody(now_ms(), account(), "examining", known, said))
        asked = {**window, "sources": sorted(source.value for source in FAMILIES["access"])}
        people = {str(who): frozenset(hours) for who, hours in database.query(ABOUT, asked)}
    found = [
        msgspec.structs.replace(
            each, who=each.who if each.who == body.attribution.named else label_of(body.cluster, each.who, directory.key)
        )
        for each in everybody(design, people)
    ]
    if as_json_too:
        body_said = {"incident": known, "design": design.digest, "attempts": len(design.trials), "bad": bad, "people": found}
        say_json(orjson.dumps(msgspec.to_builtins(body_said)))
        return
    _print(found, said)


def _team(directory: Directory, owner: str, at: int) -> str:
    """Whose jobs are compared with one another; of an owner whom the identity map does not know his own."""
    return next(
        (each.team for each in directory.identities if each.id == owner and each.valid_from <= at < each.valid_to and each.team), owner
    )


def _print(found: list[Presence], said: str) -> None:
    table = build_table("Who was about when attempts ended", "who", "ended", "of these badly", "chance", "corrected")
    for each in found[:SHOWN]:
        table.add_row(safe(each.who), str(each.ended), str(each.bad), f"{each.chance:.2g}", f"{each.corrected:.2g}")
    stdout().print(table)
    say(f"{said}; {len(found)} people tested, {min(SHOWN, len(found))} shown")
    say(PROVES_NOTHING)
