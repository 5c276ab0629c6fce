"""A seeded site in, a week of its log records out, with the truth beside them.

People, jobs, machines and acts of interference are simulated as causes; the lines follow, in the formats and through the shippers
of a real cluster.  Nothing here knows how the pipeline reads or judges: this room imports none of ours but `errors`.

    clock, people, machines, work     the world           world       all of it together, with its tickets and its ledger
    lines_*                           values to text      shipping    lines to Kafka records
    deeds, slurm, training, endings   what is done        fates, acts, lookalikes, background, demand    who does it, and when
    week                              runs it             truth       what really happened
"""

from pipeline.simulate.shipping import TOPICS, Record
from pipeline.simulate.truth import Act, Expected, JobTruth, Week
from pipeline.simulate.week import DEFAULT_START, simulate
from pipeline.simulate.world import Scale

__all__ = ["DEFAULT_START", "TOPICS", "Act", "Expected", "JobTruth", "Record", "Scale", "Week", "simulate"]
