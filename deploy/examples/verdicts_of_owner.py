"""How one owner's jobs ended: cause and count, from the topic of verdicts.

python verdicts_of_owner.py 127.0.0.1:9092 u017
"""

import json
import sys
from collections import Counter

from kafka import KafkaConsumer, TopicPartition


def ends(servers: str, owner: str, topic: str = "trainwatch.verdicts.v1") -> Counter:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, enable_auto_commit=False)
    parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    last = consumer.end_offsets(parts)
    newest: dict[str, tuple[tuple[int, int], dict]] = {}
    while any(consumer.position(part) < end for part, end in last.items()):
        for record in (record for records in consumer.poll(1000).values() for record in records):
            version = int(dict(record.headers).get("tw-epoch", b"0")), record.offset
            verdict = json.loads(record.value)["canonical"]  # no OCSF class fits a batch job: both blocks stand at the top
            if verdict["owner"] == owner and newest.get(verdict["id"], ((-1, -1), {}))[0] < version:
                newest[verdict["id"]] = version, verdict
    consumer.close()
    return Counter((verdict["verdict"], verdict["cause"]) for _, verdict in newest.values() if verdict["status"] != "retracted")


if __name__ == "__main__":
    for (verdict, cause), count in ends(*sys.argv[1:4]).most_common():
        print(f"{count:6}  {verdict:12}  {cause}")
