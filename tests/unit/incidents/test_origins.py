"""Who could have written what is cited: hosts as records and shippers name them, counted."""

import msgspec
import orjson
import pytest

from pipeline.detect.case import evidence
from pipeline.detect.ocsf import detection_finding
from pipeline.incidents.origins import origins, too_few
from pipeline.ingest import step as ingest
from pipeline.model.events import UNKNOWN_HOST
from pipeline.model.finding import UNPROVEN, Evidence, Transport, canonical
from pipeline.model.incident import Found, encode_in_case
from pipeline.model.outcome import EventRow, Record
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import HOST
from tests.scenario.lines import Line, Site, ship
from tests.unit.incidents.campaign import kill, record

SITE = Site()
SUDO = "Mar  2 00:01:37 gpu-007 sudo: u099 : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/nvidia-smi -lgc 300"


def _by(lines: list[Line], shipper: str = HOST, wrapped: str = "") -> list[str]:
    """Whose log each record of these lines is, as evidence says it: handed in by `shipper`, in JSON that names `wrapped`."""
    records: list[Record] = []
    for each in ship([line._replace(host=shipper) for line in lines]):
        headers = tuple(pair for pair in each.headers if shipper or pair[0] != "host")
        value = orjson.dumps({"message": (each.value or b"").decode(), "host": wrapped}) if wrapped else each.value
        records.append(msgspec.structs.replace(each, headers=headers, value=value))
    told = ingest.step(ingest.build_state(build.settings(), Cases()), records, NOTHING)[1]
    assert len([out for out in told if isinstance(out, EventRow)]) == len(lines)
    events = [ingest.decode_record(ingest.build_state(build.settings(), Cases()), each, dict(each.headers), {})[0] for each in records]
    return sorted({item.host for decoded in events for event, _ in decoded for item in evidence("cause", event, "it")})


def _named(host: str) -> list[Line]:
    """A kill as the kernel's audit tells it, with a name of a host in front."""
    return [line._replace(text=f"node={host} {line.text}") for line in SITE.kill(97)]


SHIPPED: dict[str, tuple[list[str], list[str]]] = {
    "its own": (_by(SITE.kill(97)), [HOST]),
    "its own, and the line says so": (_by(_named(HOST)), [HOST]),
    "made up for another by whoever is root here": (_by(_named("gpu-013")), [HOST]),
    "the system log's prefix": (_by([SITE.kill(97)[0]._replace(source="sudo", file="/var/log/auth.log", text=SUDO)]), [HOST]),
    "a wrapper that a log of this host imitates": (_by(SITE.kill(97), wrapped="gpu-013"), [HOST]),
    "nobody says who handed it in": (_by(_named("gpu-013"), shipper=""), [UNKNOWN_HOST]),
    "the scheduler's, wherever it was read": (_by(SITE.cancel(97, command=False)), [""]),
}


@pytest.mark.parametrize(("said", "expected"), SHIPPED.values(), ids=SHIPPED)
def test_a_record_is_of_the_host_that_handed_it_in(said: list[str], expected: list[str]) -> None:
    """Whatever host its text names: else root of one host would be as many as he likes."""
    assert said == expected


AUDIT, LOGIN = record("cause", "a", 0), record("cause", "b", 1, "sshd")
ORIGINS = {
    "two logs of one host": ([AUDIT, LOGIN], {"gpu-012"}),
    "of two hosts": ([AUDIT, record("cause", "c", 1, "sshd", host="login-01")], {"gpu-012", "login-01"}),
    "a host's and the scheduler's": ([AUDIT, record("cause", "c", 1, "slurmctld")], {"gpu-012", "scheduler"}),
    "a host's and a bastion's": ([AUDIT, record("cause", "c", 1, "teleport")], {"gpu-012", "bastion"}),
    "the node daemon's is the node's": ([AUDIT, record("cause", "c", 1, "slurmd")], {"gpu-012"}),
    "of which host one is nobody says": ([AUDIT, record("cause", "c", 1, host="")], {"gpu-012"}),
    "of which hosts they are nobody says": ([record("cause", "c", 1, host=""), record("cause", "d", 1, host="?")], {UNKNOWN_HOST}),
    "of which host it is nobody says, and the scheduler's": ([record("cause", "c", 1, host=""), record("cause", "d", 1, "slurmctld")],
                                                             {UNKNOWN_HOST, "scheduler"}),
    "the second one that anybody may have sent": ([AUDIT, record("cause", "c", 1, "slurmctld", f"said{UNPROVEN}")], {"gpu-012"}),
    "nothing": ([], set()),
}  # fmt: skip


@pytest.mark.parametrize(("cited", "expected"), ORIGINS.values(), ids=ORIGINS)
def test_origins_are_places_that_no_one_hand_writes(cited: list[Evidence], expected: set[str]) -> None:
    """Two of them, or the reason why they are too few."""
    assert origins(cited) == expected
    assert bool(too_few(cited)) == (len(expected) == 1)


def test_whose_log_it_is_stands_in_no_body() -> None:
    """Neither in what is compared nor in what is published; what incidents are told has it."""
    said = kill(0, "1", "u099")
    assert b"gpu-012" not in canonical(said) + detection_finding(said, Transport(revision=1), said.effect_time)
    assert b"gpu-012" in encode_in_case(Found(said))
