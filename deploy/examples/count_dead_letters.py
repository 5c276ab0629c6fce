"""Count refused records by reason and the topic they came from.  (`trainwatch dlq` shows and replays them.)

    python count_dead_letters.py 127.0.0.1:9092

The reason stands in headers; key and value are those of the record.  Notes of `dlq replay` carry x-dlq-note and are no letters.
"""

import sys
from collections import Counter

from kafka import KafkaConsumer, TopicPartition


def count(servers: str, topic: str = "trainwatch.dead-letter.v1") -> Counter:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, enable_auto_commit=False)
    parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    ends = consumer.end_offsets(parts)
    counts: Counter = Counter()
    while any(consumer.position(part) < end for part, end in ends.items()):
        for record in (record for records in consumer.poll(1000).values() for record in records):
            headers = dict(record.headers)
            if "x-dlq-code" in headers:
                counts[headers["x-dlq-code"].decode(), headers["x-dlq-topic"].decode()] += 1
    consumer.close()
    return counts


if __name__ == "__main__":
    for (code, topic), letters in count(*sys.argv[1:3]).most_common():
        print(f"{letters:8}  {code:24}  {topic}")
