"""Command: shuffled batches from the same records, through the memory map, Grain, and tf.data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import interleaved, table
from common import cli
from data_prep.records.folder import Records, case_path
from training.data.batches import InputConfig, training_batches, training_examples
from training.data.slices import Slices, training_slices


@dataclass(kw_only=True)
class ReadersConfig:
    """Compare readers of records: slices per second of wall time, into shuffled batches, page cache warm."""

    records: Path
    """Folder of records."""
    batch_size: int = 16
    """Slices a batch."""
    batches: int = 60
    """Batches per repeat."""
    rounds: int = 7
    """Interleaved repeats."""


def main(config: ReadersConfig) -> None:
    """Print the table."""
    from common.hardware.backend import load_backend

    load_backend()
    records = Records(config.records)
    source = training_slices(records, records.split["train"], InputConfig())[0]
    shards = [str(case_path(records.path, case, 0, ".tfrecord")) for case in records.split["train"]]
    contenders = {
        "tf.data, shuffle, batch, parse_example, decode": lambda: _tensorflow(shards, records, config, True),
        "tf.data, shuffle, batch, undecoded": lambda: _tensorflow(shards, records, config, False),
        "Grain, 2 threads": lambda: _grain(source, config),
        "memory map, np.stack": lambda: _mapped(source, config),
    }
    medians = interleaved(contenders, config.rounds, cpu=False)
    slices = config.batches * config.batch_size
    print(f"{slices} slices of {source[0][0].shape} {source[0][0].dtype} a repeat, median of {config.rounds} repeats")
    print(table(medians, "slices/s", lambda seconds: slices / seconds))


def _mapped(source: Slices, config: ReadersConfig) -> None:
    order = np.random.default_rng(0).integers(len(source), size=(config.batches, config.batch_size))
    for rows in order:
        examples = [source[row] for row in rows]
        np.stack([image for image, _ in examples])
        np.stack([labels["segmentation"] for _, labels in examples])


def _grain(source: Slices, config: ReadersConfig) -> None:
    given = InputConfig(batch_size=config.batch_size)
    batches = iter(training_batches(training_examples([source], given, seed=0), given, start=0))
    for _ in range(config.batches):
        next(batches)


def _tensorflow(shards: list[str], records: Records, config: ReadersConfig, decode: bool) -> None:
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image", "label")}
    facts = records.cases[records.split["train"][0]].layout
    shape = (-1, facts["height"], facts["width"])

    def parse(examples: Any) -> Any:
        parsed = tf.io.parse_example(examples, features)
        image = tf.reshape(tf.io.decode_raw(parsed["image"], facts["dtype"]), (*shape, facts["channels"]))
        return image, tf.reshape(tf.io.decode_raw(parsed["label"], tf.uint8), shape)

    data = tf.data.TFRecordDataset(shards).repeat().shuffle(256).batch(config.batch_size)
    data = data.map(parse) if decode else data
    for _ in data.take(config.batches).prefetch(2):
        pass


if __name__ == "__main__":
    cli.run(main, ReadersConfig)
