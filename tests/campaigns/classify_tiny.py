"""Command: classify, with the tiny classifier of the tests among its networks."""

import tests.networks  # noqa: F401
from common import cli
from training.classify import ClassifyConfig, main

if __name__ == "__main__":
    cli.run(main, ClassifyConfig)
