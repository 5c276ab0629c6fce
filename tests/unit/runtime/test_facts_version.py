"""What stages tell one another, held against the number by which workers know whether they may share a group."""

from typing import get_args

from pipeline.model.events import Event
from pipeline.model.incident import InCase
from pipeline.model.told import Told
from pipeline.runtime.membership import FACTS, Shares

SAID = {  # by tag; of 3
    "heard": "source bucket bits width",
    "touch": "attempt event matched job_pid",
    "node_touch": "attempt event job_pid",
    "host_coverage": "attempt host source buckets",
    "artefact_use": "load before",
    "displaced": "victim victim_uid by event waited",
    "worked": "attempt event",
    "emitted": "subject revision digest body retracted settings",
    "found": "finding",
    "examined": "attempt owner project gpus end verdict cause missing exposures state nodes task configuration saved resumed loads_told "
    "last_step steps_apart timed_out pace record code_in unexplained",
    "logged_in": "days ways",
    "tombstone": "attempts findings end",
}


def test_what_is_told_goes_by_its_number() -> None:
    """Changed what is told?  Raise `membership.FACTS` if a worker of before would take it for something else, and renew the table here."""
    said = {str(each.__struct_config__.tag): " ".join(each.__struct_fields__) for each in {*get_args(Told), *get_args(InCase)} - {Event}}
    assert (FACTS, said) == (3, SAID)


def test_the_group_goes_by_that_number() -> None:
    """It is what the broker compares."""
    assert Shares.name == f"trainwatch-facts-{FACTS}"
