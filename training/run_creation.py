"""Files of a run that a training writes when it begins or goes on: settings, run.json, environment."""

import platform
from pathlib import Path
from typing import Any

from common import cli
from common.files import read_json, read_yaml, write_json, write_yaml
from common.hardware.devices import cores
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.heads.base import Head
from training.run import COMMANDS, CONFIG, FIXED, NETWORK, PATIENTS, PREPARATION, SCHEMA, Run, network_checksum, values_checksum
from training.run_facts import FORMAT


def create_run(path: Path, config: TrainingConfig, data: Mixture, heads: dict[str, Head]) -> Run:
    """Start a run folder, in which the list of its patients stands already.

    Args:
        path: the folder.
        config: every setting, resolved.
        data: of the training; channels, preparation and schema are those of its first folder.
        heads: of the network.
    """
    write_yaml(path / CONFIG, cli.as_dict(config))
    write_yaml(path / PREPARATION, cli.as_dict(data.records.preparation))
    write_yaml(path / SCHEMA, data.records.schema.to_dict())
    facts = {
        "format": FORMAT,
        "status": "stopped",  # until it trains
        "command": next(command for command, kind in COMMANDS.items() if isinstance(config, kind)),
        "heads": {name: head.metadata() for name, head in heads.items()},
        "channels": data.records.channels,
        "records": [
            {
                "path": str(folder.records.path.resolve()),
                "fingerprint": folder.records.fingerprint,
                "source": folder.records.source,
                "spacing_mm": folder.records.spacing_bounds(folder.train),
                "share": folder.share,
                "heads": sorted(folder.targets.annotates),
            }
            for folder in data.folders
        ],
        "fold": config.fold,
        "split": config.split,
        "pretrained": config.model.origin(),
    }
    settings = {name: values_checksum(read_yaml(path / name, name)) for name in (PREPARATION, SCHEMA)}
    settings[PATIENTS] = values_checksum(read_json(path / PATIENTS, "patients of the run"))
    settings[NETWORK] = network_checksum(read_yaml(path / CONFIG, CONFIG), facts)
    write_json(path / "run.json", facts | {"settings": settings})
    return Run(path)


def write_config(run: Run, config: TrainingConfig) -> None:
    """Write the settings of a run that goes on; those that are fixed stay as they were written, without later defaults."""
    before = read_yaml(run.path / CONFIG, "config of the run")
    write_yaml(run.path / CONFIG, cli.as_dict(config) | {name: before[name] for name in FIXED if name in before})


def write_environment(path: Path, device: str, deterministic: bool) -> dict[str, Any]:
    """Record versions, device and threads in `environment.json`; what resumes must agree on for equal bits."""
    from importlib.metadata import PackageNotFoundError, version

    import keras

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    packages = {name: installed(name) for name in ("keras", "tensorflow", "jax", "numpy", "grain")}
    environment = {
        "backend": keras.backend.backend(),
        "packages": {name: number for name, number in packages.items() if number},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "cores": cores(),
        "deterministic": deterministic,
    }
    write_json(path, environment)
    return environment
