"""The newest state of every incident, as a table in memory: read the topic from its beginning to its end.

    python incidents_by_id.py 127.0.0.1:9092

Of the values of one id the one with the greatest (header tw-epoch, offset) counts.  An incident whose last word is `retracted` equals one
never raised; if it was merged, `merged_into` is the incident that has its findings now.  Tell people a name only where `named` gives one.
"""

import json
import sys

from kafka import KafkaConsumer, TopicPartition


def newest(servers: str, topic: str = "trainwatch.incidents.v1") -> dict[str, dict]:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, enable_auto_commit=False)
    parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    ends = consumer.end_offsets(parts)
    found: dict[str, tuple[tuple[int, int], dict]] = {}
    while any(consumer.position(part) < end for part, end in ends.items()):
        for record in (record for records in consumer.poll(1000).values() for record in records):
            version = int(dict(record.headers).get("tw-epoch", b"0")), record.offset
            body = json.loads(record.value)["unmapped"]["trainwatch"]["canonical"]
            if body["id"] not in found or found[body["id"]][0] < version:
                found[body["id"]] = version, body
    consumer.close()
    return {key: body for key, (_, body) in found.items() if body["status"] != "retracted"}


if __name__ == "__main__":
    for body in newest(*sys.argv[1:3]).values():
        said = {name: body[name] for name in ("id", "status", "severity", "alert", "title", "findings", "first", "last")}
        print(json.dumps({**said, "named": body["attribution"]["named"], "withheld": body["attribution"]["withheld"]}))
