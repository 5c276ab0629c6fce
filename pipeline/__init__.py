"""trainwatch: finds interference with training jobs in the logs of a shared cluster.

    records -> ingest -> hosts -> artefacts, identities -> jobs -> cohorts -> incidents -> sink -> ClickHouse

`topology.py` is that line as code; each stage is a folder with one `step.py`: facts and marks in, outcomes out, and nothing touched but its
own state.  Around them: `model/` the types rooms share, `formats/` bytes to events, `stream/` event time, `detect/` what is judged,
`evidence/` what proves it later, `loss/` what it cost, `runtime/` Faust and Kafka, `embedded/` servers for one machine, `simulate/` a
cluster to try it on, `score/` how good the judgement is, `bench/` how fast, `faults/` what happens when things break, `dashboard/` what
people look at, `probe/` the file that runs inside training jobs, `cli/` the commands.

    record     one Kafka message              attempt   one run of a job: cluster, raw id, submit, start
    event      one thing that happened        touch     a signal that reached, or may have reached, an attempt
    fact       what one stage tells another   mark      how far a source family has come; windows close by marks
    case       all facts about one subject    coverage  when a source was heard; without it absence proves nothing
    subject    job, host, artefact,           cohort    attempts that should have gone alike: of one configuration, or from a size on
               identity or cohort             exposure  an attempt loaded bytes that somebody else had written
"""

__version__ = "0.1.0"
