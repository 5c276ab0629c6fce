"""Say what a finding was, from a tool that cannot run `trainwatch label`; `trainwatch label --from-topic` notes it.

    python send_label.py 127.0.0.1:9092 a378b78a07ce5d0e9f7c2b1a4e6d8f03 benign u101 "CHG-17, entered late" admin_ticket

A label is never changed or deleted: to take one back, send another.  Keep its ce_id when you send the same one again: it is noted once.
"""

import json
import sys
import uuid

from kafka import KafkaProducer


def main(servers: str, finding: str, label: str, account: str, note: str, because: str = "", topic: str = "trainwatch.labels.v1") -> None:
    value = {"finding": finding, "label": label, "because": because, "note": note, "account": account}
    producer = KafkaProducer(bootstrap_servers=servers, acks="all")
    headers = [("ce_id", str(uuid.uuid4()).encode())]  # noqa: TID251  a program of its own
    producer.send(topic, json.dumps(value).encode(), key=finding.encode(), headers=headers).get(30)  # raises when it did not arrive
    producer.close()


if __name__ == "__main__":
    main(*sys.argv[1:8])
