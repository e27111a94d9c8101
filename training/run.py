"""The run folder: all that prediction, scoring and resuming need, and no code.

RUN/config.yaml        every setting, resolved          history.csv        a row of scores per epoch
    preparation.yaml   how scans were prepared          best.weights.h5    of the best epoch on validation
    schema.yaml        classes, ids and regions         last.weights.h5    of the last epoch
    patients.json      who trained it and chose its epoch
    run.json           heads, channels, records, status state/             exact states of the last two epochs
    environment.json   versions, device, threads        logs/              TensorBoard
    wandb/, examples/  Weights & Biases, pictures       before_phase2.weights.h5  what phase 2 began with
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c

from common import cli
from common.errors import UserError, did_you_mean_path
from common.files import checksum, copy_file, write_json
from common.manifests import CONTENT, MapOf, read_manifest
from common.packed_arrays import check_hdf5
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig
from data_prep.records.folder import Records
from models.outputs import refuse_not_finite
from models.unet import without_levels
from models.volume import SlidingWindow
from training.config import ClassifyConfig, TrainConfig, TrainingConfig
from training.heads import head_from_metadata
from training.heads.base import Head
from training.run_facts import COPY_AGAIN, Facts, read_run_facts

if TYPE_CHECKING:
    import keras

COMMANDS: dict[str, type[TrainingConfig]] = {"training.train": TrainConfig, "training.classify": ClassifyConfig}
"""Command that trains a run, as run.json stores it -> class of its config."""
MOST_NAMES = 5  # of runs, in one line of a message
PATIENTS = "patients.json"  # written and read by training.patients
CONFIG = "config.yaml"
PREPARATION, SCHEMA = "preparation.yaml", "schema.yaml"  # as the run began
FIXED = ("model", "input", "precision")  # of config.yaml, on which predictions depend
NETWORK = "network"  # of `network_checksum` among the checksums of settings in run.json
BEFORE_RUN_JSON = (CONFIG, PREPARATION, SCHEMA, PATIENTS)
"""Files that `create_run` writes before run.json; what they begin may be started again (`training.start`)."""


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
            inner = sorted(each.parent.name for each in path.glob("*/run.json"))[:MOST_NAMES]
            hint = f"; choose {' or '.join(inner)} in it" if inner else did_you_mean_path(path)
            raise UserError(f"{path}: expected a run (a folder with run.json, made by glioskull train){hint}")
        self.metadata = read_run_facts(path / "run.json")

    @cached_property
    def heads(self) -> dict[str, Head]:
        """The network's heads, by name."""
        where = f"{self.path}/run.json"
        return {name: head_from_metadata(name, values, where) for name, values in self.metadata.get("heads", {}).items()}

    def trained_on(self, records: Records) -> bool:
        """True where the content of a records folder is that of one of the folders that the run was started on."""
        return any(folder["fingerprint"] == records.fingerprint for folder in self.metadata["records"])

    def heads_annotated_by(self, records: Records) -> list[str]:
        """Names of the heads that a records folder annotates; all heads where the run was not started on it."""
        same = [folder["heads"] for folder in self.metadata["records"] if folder["fingerprint"] == records.fingerprint]
        return [name for name in self.heads if any(name in heads for heads in same)] if same else list(self.heads)

    def records_that_annotate(self, head: str) -> list[Path]:
        """Records folders that the run was started on and that annotate a head."""
        return [Path(folder["path"]) for folder in self.metadata["records"] if head in folder["heads"]]

    @property
    def records_paths(self) -> list[Path]:
        """Records folders that the run was started on."""
        return [Path(folder["path"]) for folder in self.metadata["records"]]

    @property
    def command(self) -> str:
        """The command that trains such runs."""
        command: str = self.metadata["command"]
        return command

    @property
    def config_type(self) -> type[TrainingConfig]:
        """Class of the run's config.

        Raises:
            UserError: run.json names no command that trains.
        """
        if self.command not in COMMANDS:
            raise UserError(f"{self.path}/run.json: expected a command of {', '.join(COMMANDS)}; received {self.command}")
        return COMMANDS[self.command]

    @cached_property
    def config(self) -> Any:
        """Every setting of the training: a `TrainConfig` or a `ClassifyConfig`.

        Raises:
            UserError: a file that is no config, one that names code that the user has not trusted (`common.trust`), or one of
            another network than was trained.
        """
        file = self.path / CONFIG
        values = read_manifest(file, "config of the run", MapOf(CONTENT), advice=COPY_AGAIN)
        if not self.began_with(NETWORK, network_checksum(values, self.metadata)):
            raise UserError(
                f"{file}: {', '.join(FIXED)}, or heads and channels in run.json: expected those that the run was trained with; "
                f"received others; {COPY_AGAIN}"
            )
        try:
            config: TrainingConfig = cli.from_dict(self.config_type, values, file)
        except UserError as error:
            raise UserError(f"{error}; {COPY_AGAIN}") from None
        config.model.refuse_untrusted(file)
        return config

    @cached_property
    def preparation(self) -> PrepareConfig:
        """Preparation of the scans."""
        values = self._read_settings(PREPARATION, "preparation of the run")
        preparation: PrepareConfig = cli.from_dict(PrepareConfig, values, self.path / PREPARATION)
        return preparation

    @cached_property
    def schema(self) -> LabelSchema:
        """Classes, ids and regions."""
        return LabelSchema.from_dict(self._read_settings(SCHEMA, "label schema of the run"), self.path / SCHEMA)

    def began_with(self, name: str, crc32c: str) -> bool:
        """True where a checksum is that of the settings `name` at the start; also in runs of before, which store none."""
        return self.metadata.get("settings", {}).get(name, crc32c) == crc32c

    def _read_settings(self, name: str, what: str) -> Any:
        """Values of a file that never changes after the run began.

        Raises:
            UserError: no such file, or others than the run was trained with.
        """
        values = read_manifest(self.path / name, what, MapOf(CONTENT), advice=COPY_AGAIN)
        if not self.began_with(name, values_checksum(values)):
            raise UserError(f"{self.path / name}: expected the {what} as it was trained; received other values; {COPY_AGAIN}")
        return values

    @property
    def channels(self) -> list[str]:
        """Names of the network's input channels, in order."""
        channels: list[str] = self.metadata["channels"]
        return channels

    @property
    def serves_subsets(self) -> bool:
        """True where scans may lack channels, because the network was trained with channel dropout."""
        return bool(self.config.input.channel_dropout)

    @property
    def input_channels(self) -> list[str]:
        """Channels of the network's input: those of each slice where neighbouring slices are further channels (2.5D)."""
        steps = range(-self.config.input.neighbours, self.config.input.neighbours + 1)
        return [name if step == 0 else f"{name} of slice {step:+d}" for step in steps for name in self.channels]

    @property
    def weights(self) -> Path:
        """The weights to predict with: the best on validation where there was one, else the last.

        Raises:
            UserError: no epoch was finished.
        """
        best, last = self.path / "best.weights.h5", self.path / "last.weights.h5"
        if self.metadata.get("best_epoch") and last.is_file() and not best.is_file():
            epoch = self.metadata["best_epoch"]
            raise UserError(f"{best}: not found, though the run has a best epoch ({epoch}); {COPY_AGAIN}")
        chosen = best if best.is_file() else last
        if not chosen.is_file():
            lost = "weights" in self.metadata
            reason = "its weights files are not there" if lost else "no epoch was finished, so there are no weights"
            raise UserError(
                f"{self.path}: {reason}; go on with --resume {self.path}{', which writes them again' if lost else ''}"
            )
        return chosen

    def build_network(self, start: bool = False) -> "keras.Model":
        """The network as configured, in the run's precision, with fresh weights.

        Args:
            start: whether the network is to be trained, so that pretrained weights are loaded where the config names some.

        Raises:
            UserError: a head has the name of a layer.
        """
        import keras

        config = self.config
        keras.config.set_dtype_policy(config.precision)
        channels = len(self.input_channels)
        outputs = {name: head.outputs for name, head in self.heads.items()}
        pooled = [name for name, head in self.heads.items() if not head.per_voxel]
        try:
            network: keras.Model = config.model.build(
                channels, outputs, pooled, self.preparation.network_range, load_pretrained=start
            )
        except ValueError as error:
            # Keras: The name "join" is used 2 times in the model. All operation names should be unique.
            clash = next((name for name in outputs if f'name "{name}" is used' in str(error)), None)
            if clash is None:
                raise
            raise UserError(f"--heads: {clash}: is the name of a layer of the network; choose another name") from None
        if start and config.learns_loss_weights:  # prediction needs no weights of losses
            from training.objectives.uncertainty import UncertainNetwork

            network = UncertainNetwork(network, list(outputs))
        return network

    def load_network(self, weights: Path | None = None) -> "keras.Model":
        """The network with the weights to predict with, or with other weights of the run.

        Raises:
            UserError: no weights, or they do not fit.
        """
        network, weights = self.build_network(), weights or self.weights
        self.verify_weights(weights)
        check_hdf5(weights, "weights")
        try:
            network.load_weights(weights)
        except Exception as error:  # what Keras and HDF5 make of a damaged file
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{weights}: weights do not fit the network of {self.path}/config.yaml ({reason})") from None
        refuse_not_finite(network, weights)
        return without_levels(network)

    def expect_weights(self, names: Sequence[str], crc32c: str) -> None:
        """Store the checksum of weights files that are about to be written, beside that of each file as it is now.

        An epoch that is repeated after a stop gives equal weights, and changes nothing; where a GPU gives others, the file that
        the stopped epoch, or the one before it, has left is expected too.
        """
        weights = dict(self.metadata.get("weights", {}))
        for name in names:
            known, file = weights.get(name, []), self.path / name
            if known[-1:] != [crc32c]:
                now = checksum(file) if file.is_file() else None
                weights[name] = [now, crc32c] if now is not None and (now in known or not known) else [crc32c]
        self.set_status(self.metadata["status"], weights=weights)

    def verify_weights(self, weights: Path) -> None:
        """Compare a weights file with the checksums that the run stores; runs of before have none.

        Raises:
            UserError: it is damaged, or of another run.
        """
        known = self.metadata.get("weights", {}).get(weights.name)
        if known is not None and weights.is_file() and (found := checksum(weights)) not in known:
            raise UserError(
                f"{weights}: is damaged, of another epoch or of another run (checksum {found}, expected {' or '.join(known)}); "
                f"{COPY_AGAIN}"
            )

    @property
    def weights_before_last_phase(self) -> Path | None:
        """The weights that the last phase began with; None in a run of one phase."""
        kept = sorted(self.path.glob("before_phase*.weights.h5"), key=lambda path: (len(path.name), path.name))
        return kept[-1] if kept else None

    def keep_weights_before(self, phase: int, restart_from: str) -> Path:
        """Store the weights that a phase begins with; stored ones are not overwritten.

        Args:
            phase: its number.
            restart_from: "best" for the weights to predict with so far, or "last".
        """
        kept = self.path / f"before_phase{phase}.weights.h5"
        if not kept.is_file():  # else a resume would take the phase's own best weights for those that it began with
            source = self.weights if restart_from == "best" else self.path / "last.weights.h5"
            self.verify_weights(source)
            self.expect_weights([kept.name], checksum(source))
            copy_file(source, kept)
        return kept

    def sliding_window(
        self, least_size: tuple[int, int] = (0, 0), flips: tuple[str, ...] = (), overlap: float = 0.5
    ) -> SlidingWindow:
        """Sliding-window inference as the network was trained; arguments as of `SlidingWindow`."""
        given, model = self.config.input, self.config.model
        # Slices that are resized have the size that the network takes.
        patch = model.prediction_patch(given.patch) if given.resize is None else None
        return SlidingWindow(model.stride, patch, overlap, given.neighbours, least_size, given.resize, flips, model.margin)

    def open_records(self, path: Path) -> Records:
        """Open records with the channels of the network's input, in its order.

        Raises:
            UserError: the records lack a channel.
        """
        stored = Records(path)
        if not set(self.channels) <= set(stored.channels):
            raise UserError(f"{path}: {self.path} was trained on the channels {self.channels}; found {stored.channels}")
        return stored if stored.channels == self.channels else Records(path, self.channels)

    def mark_stopped(self) -> None:
        """Record that a training ended before its end, as far as the disk allows it."""
        with suppress(OSError, UserError):
            self.metadata = read_run_facts(self.path / "run.json")  # an interrupt may have come between the file and memory
            if self.metadata.get("status") == "running":
                self.set_status("stopped")

    def set_status(self, status: str, **facts: Any) -> None:
        """Record the status of the training (running, stopped, diverged or finished) and other facts."""
        self.metadata = Facts(self.path / "run.json", self.metadata | {"status": status} | facts)
        write_json(self.path / "run.json", self.metadata)


def values_checksum(values: Any) -> str:
    """CRC-32C of the values of a YAML file, whatever its layout and the order of its keys."""
    return f"{google_crc32c.value(json.dumps(values, sort_keys=True).encode()):08x}"


def network_checksum(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """CRC-32C of what determines a run's network and its input: `FIXED` of config.yaml, heads and channels of run.json."""
    return values_checksum([*(config.get(name) for name in FIXED), facts.get("heads"), facts.get("channels")])


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Runs of some folders; a folder of `glioskull cross_validate` gives the runs of its folds.

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
