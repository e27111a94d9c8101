"""Command: train a segmentation network on records, or go on with a run that was stopped."""

from common import cli
from training.config import TrainConfig
from training.engine import train


def main(config: TrainConfig) -> None:
    """Train or resume, and print where the run is."""
    train(config)


if __name__ == "__main__":
    cli.run(main, TrainConfig)
