"""Command: train a classifier of slices, such as of a tumour's grade, on records, or go on with a run that was stopped."""

from common import cli
from training.config import ClassifyConfig
from training.engine import train


def main(config: ClassifyConfig) -> None:
    """Train or resume, and print where the run is."""
    train(config)


if __name__ == "__main__":
    cli.run(main, ClassifyConfig)
