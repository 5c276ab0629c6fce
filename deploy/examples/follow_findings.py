"""Print findings as they come.

    python follow_findings.py 127.0.0.1:9092

Needs kafka-python alone.  A value may come twice; its id is in the header ce_id.  `actor` is the account that the records name; whether its
holder acted is said by the incident (attribution.named on trainwatch.incidents.v1), so people are not told it from here.
"""

import json
import sys

from kafka import KafkaConsumer


def main(servers: str, topic: str = "trainwatch.findings.v1", seconds: float = float("inf")) -> None:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest", consumer_timeout_ms=seconds * 1000
    )
    for record in consumer:
        finding = json.loads(record.value)  # an OCSF 1.5.0 Detection Finding
        ours = finding["unmapped"]["trainwatch"]["canonical"]
        kind, _, name = ours["subject"]  # an account, a host: not every message names it
        # What stands in a finding came from logs: without control characters it is safe on a terminal.
        message = "".join(char if char.isprintable() else " " for char in f"{kind} {name}  {finding['message']}")
        print(finding["severity"], finding["status_detail"], ours["detector"], message, sep="  ", flush=True)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(float, sys.argv[3:4]))
