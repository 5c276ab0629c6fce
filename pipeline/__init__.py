"""trainwatch: finds interference with training jobs in the logs of a shared cluster.

    records -> ingest -> hosts -> artefacts -> jobs -> sink -> ClickHouse

`topology.py` is that line as code; each stage is a folder with one pure `step.py`.  Around them: `model/` the types rooms
share, `formats/` bytes to events, `stream/` event time, `detect/` what is judged, `runtime/` Faust and Kafka, `embedded/`
servers for one machine, `simulate/` a cluster to try it on, `cli/` the commands.
"""

__version__ = "0.1.0"
