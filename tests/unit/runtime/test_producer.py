"""What leaves through the worker's producer."""

import asyncio

import pytest
from aiokafka.codec import lz4_encode
from aiokafka.record import default_records

from pipeline.runtime.producer import LZ4_LEVEL, build_producer
from pipeline.settings import KafkaSettings

HEADER_BYTES = 61  # of a batch, in front of its records
RECORDS = [(b"main\x1fgpu-%03d" % (number % 7), b"signal_sent pid %d auid 5012" % (number * 977)) for number in range(400)]


def records_of(builder: type, codec: int) -> bytes:
    """All of one batch but its header."""
    batch = builder(2, codec, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=0, batch_size=1 << 20)
    for number, (key, value) in enumerate(RECORDS):
        batch.append(number, 1_772_400_000_000, key, value, [])
    return bytes(batch.build())[HEADER_BYTES:]


@pytest.mark.parametrize("builder", [default_records.DefaultRecordBatchBuilder, default_records._DefaultRecordBatchBuilderPy])
def test_batches_are_compressed_at_the_quick_level(builder: type) -> None:
    """The level reaches aiokafka's builders, compiled and not, which have no parameter for it."""

    async def build() -> None:
        await build_producer(KafkaSettings()).stop()

    asyncio.run(build())
    plain = records_of(builder, 0)
    assert records_of(builder, default_records.DefaultRecordBatch.CODEC_LZ4) == lz4_encode(plain, LZ4_LEVEL) != lz4_encode(plain, 9)
