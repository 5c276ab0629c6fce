"""Send every new alert to a webhook, at least once.  (`trainwatch notify` does this with retries, signatures and acknowledgement.)

    ALERT_WEBHOOK_URL=https://hooks.example/path python alert_webhook.py 127.0.0.1:9092

The address is often the secret, and every account of a machine sees the arguments of its processes, so it stands in the environment.  The
offset is committed after the webhook has answered, so an alert is never lost; the receiver drops doubles by `id`.
"""

import json
import os
import sys
import urllib.request

from kafka import KafkaConsumer


def main(servers: str, topic: str = "trainwatch.findings.v1", seconds: float = float("inf")) -> None:
    url = os.environ["ALERT_WEBHOOK_URL"]  # noqa: TID251  a program of its own
    consumer = KafkaConsumer(
        topic, bootstrap_servers=servers, group_id=f"{topic}.alerts", enable_auto_commit=False, auto_offset_reset="earliest",
        consumer_timeout_ms=seconds * 1000,
    )  # fmt: skip
    said: set[str] = set()  # of this run: a later revision of a finding is not a new alert
    for record in consumer:
        finding = json.loads(record.value)
        identity = finding["finding_info"]["uid"]
        if finding["is_alert"] and identity not in said:
            body = json.dumps({"id": identity, "severity": finding["severity"], "text": finding["message"]}).encode()
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=10).close()  # raises when the webhook refuses: then nothing is committed
            said.add(identity)
        consumer.commit()
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(float, sys.argv[3:4]))
