"""The run folder: all that prediction, scoring and resuming need, and nothing that must be run to be read.

RUN/config.yaml        every setting, resolved          history.csv        a row of scores per epoch
    preparation.yaml   how scans were prepared          best.weights.h5    of the best epoch on validation
    schema.yaml        classes, ids and regions         last.weights.h5    of the last epoch
    run.json           channels, records, status        state/             exact states of the last two epochs
    environment.json   versions, device, threads        logs/              TensorBoard
                                                        before.weights.h5  what fine-tuning began with
"""

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli
from common.errors import UserError
from common.files import atomic, read_json, read_yaml, write_json, write_yaml
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig
from data_prep.records.folder import Records
from models.unet import without_levels
from models.volume import View
from training.config import ClassifyConfig, TrainConfig, TrainingConfig

if TYPE_CHECKING:
    import keras

FORMAT = 2
CONFIGS: dict[str, type[TrainingConfig]] = {"segmentation": TrainConfig, "category": ClassifyConfig}
COMMANDS = {"segmentation": "training.train", "category": "training.classify"}
BEFORE = "before.weights.h5"


class Run:
    """An existing run.

    Args:
        path: the folder.

    Raises:
        UserError: no run there, or one of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "run.json").is_file():
            raise UserError(f"{path}: expected a run (a folder with run.json, made by training.train)")
        self.facts: dict[str, Any] = read_json(path / "run.json", "run")
        if self.facts.get("format") != FORMAT:
            raise UserError(f"{path}: expected a run of format {FORMAT}, found {self.facts.get('format')}")

    @property
    def kind(self) -> str:
        """What the run tells: "segmentation", or "category" of slices."""
        kind: str = self.facts["kind"]
        return kind

    @property
    def command(self) -> str:
        """The command that trains such runs."""
        return COMMANDS[self.kind]

    @property
    def config_type(self) -> type[TrainingConfig]:
        """Class of the run's config."""
        return CONFIGS[self.kind]

    @cached_property
    def config(self) -> Any:
        """Every setting of the training: a `TrainConfig` or a `ClassifyConfig`."""
        file = self.path / "config.yaml"
        return cli.from_dict(self.config_type, read_yaml(file, "config of the run"), file)

    @cached_property
    def preparation(self) -> PrepareConfig:
        """How scans were prepared."""
        file = self.path / "preparation.yaml"
        preparation: PrepareConfig = cli.from_dict(PrepareConfig, read_yaml(file, "preparation of the run"), file)
        return preparation

    @cached_property
    def schema(self) -> LabelSchema:
        """Classes, ids and regions."""
        file = self.path / "schema.yaml"
        return LabelSchema.from_dict(read_yaml(file, "label schema of the run"), file)

    @property
    def channels(self) -> list[str]:
        """Names of the channels that the network sees, in order."""
        channels: list[str] = self.facts["channels"]
        return channels

    @property
    def weights(self) -> Path:
        """The weights to predict with: the best on validation where there was one, else the last.

        Raises:
            UserError: no epoch was finished.
        """
        best, last = self.path / "best.weights.h5", self.path / "last.weights.h5"
        if self.facts.get("best_epoch") and last.is_file() and not best.is_file():
            raise UserError(f"{best}: not found, though the run has a best epoch ({self.facts['best_epoch']})")
        chosen = best if best.is_file() else last
        if not chosen.is_file():
            raise UserError(f"{self.path}: no epoch was finished, so there are no weights; go on with --resume {self.path}")
        return chosen

    def build_network(self, start: bool = False) -> "keras.Model":
        """The network as configured, in the run's precision, with fresh weights.

        Args:
            start: whether the network is to be trained, so that pretrained weights are loaded where the config names some.
        """
        import keras

        config = self.config
        keras.config.set_dtype_policy(config.precision)
        seen = len(self.channels) * (2 * config.input.neighbours + 1)
        if self.kind == "category":
            return config.model.build(seen, self.facts["heads"], self.preparation.intensity, load_pretrained=start)
        return config.model.build(seen, self.facts["heads"])

    def load_network(self, weights: Path | None = None) -> "keras.Model":
        """The network with the weights to predict with, or with other weights of the run.

        Raises:
            UserError: no weights, or they do not fit.
        """
        network, weights = self.build_network(), weights or self.weights
        try:
            network.load_weights(weights)
        except (ValueError, OSError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{weights}: weights do not fit the network of {self.path}/config.yaml ({reason})") from None
        return without_levels(network)

    @property
    def before(self) -> Path | None:
        """The weights that fine-tuning began with, chosen as `weights` are; None where there was none."""
        path = self.path / BEFORE
        return path if path.is_file() else None

    def keep_before(self) -> Path:
        """Keep the weights that the first phase chose, with which fine-tuning begins, beside those that it makes of them."""
        with atomic(self.path / BEFORE) as temporary:
            shutil.copyfile(self.weights, temporary)
        return self.path / BEFORE

    def view(self, least_size: tuple[int, int] = (0, 0), flips: tuple[str, ...] = (), overlap: float = 0.5) -> View:
        """How volumes are shown to the network, as they were in training."""
        shown, model = self.config.input, self.config.model
        # Slices that are resized have the size that the network takes.
        window = model.window(shown.patch) if self.kind == "segmentation" and shown.resize is None else None
        return View(model.stride, window, overlap, shown.neighbours, least_size, shown.resize, flips)

    def set_status(self, status: str, **facts: Any) -> None:
        """Record how the training stands: running, stopped or finished, and other facts."""
        self.facts = self.facts | {"status": status} | facts
        write_json(self.path / "run.json", self.facts)


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs of some folders; a folder of evaluation.cross_validate stands for the runs of its folds.

    Raises:
        UserError: no run there, or none at all.
    """
    if not paths:
        raise UserError("--runs: expected at least one run folder")
    folders = []
    for path in paths:
        folds = [file.parent for file in path.glob("fold*/run.json")] if not (path / "run.json").is_file() else []
        folders += sorted(folds, key=lambda folder: (len(folder.name), folder.name)) or [path]
    return [Run(folder) for folder in folders]


def refuse_used(path: Path) -> None:
    """Refuse a folder for a new run that holds something already."""
    if path.exists() and (not path.is_dir() or any(entry.name != ".lock" for entry in path.iterdir())):
        hint = f"go on with it by --resume {path}, or choose" if (path / "run.json").is_file() else "choose"
        raise UserError(f"{path}: exists and is not empty; {hint} another --out")


def create_run(path: Path, config: TrainingConfig, records: Records, task: dict[str, Any]) -> Run:
    """Start a run folder; `task` holds `kind`, `heads` and what else the kind of run needs."""
    write_yaml(path / "config.yaml", cli.as_dict(config))
    write_yaml(path / "preparation.yaml", cli.as_dict(records.preparation))
    write_yaml(path / "schema.yaml", records.schema.to_dict())
    facts = {
        "format": FORMAT,
        "status": "running",
        "channels": records.channels,
        "records": {"path": str(records.path.resolve()), "fingerprint": records.fingerprint, "source": records.source},
        "fold": config.fold,
        "split": config.split,
    }
    write_json(path / "run.json", facts | task)
    return Run(path)


def write_environment(path: Path, device: str, deterministic: bool) -> dict[str, Any]:
    """Record versions, device and threads in `environment.json`; what resumes must agree on for equal bits."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import keras

    from training.hardware.devices import cores

    def found(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    packages = {name: found(name) for name in ("keras", "tensorflow", "jax", "numpy", "grain")}
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
