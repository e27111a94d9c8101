"""Options of the loggers: TensorBoard and history.csv alone, or Weights & Biases as well."""

from dataclasses import dataclass
from typing import Literal

from common.errors import UserError, expect_number


@dataclass
class FilesConfig:
    """Files of the run alone: history.csv, and logs/ for TensorBoard."""

    name: str = "files"
    """files: history.csv and TensorBoard, which every training writes; wandb: Weights & Biases as well."""

    def check(self) -> None:
        """Nothing to refuse."""


@dataclass
class WandbConfig:
    """Weights & Biases, beside history.csv and TensorBoard; a training without package, network or account goes on."""

    name: str = "wandb"
    """files: history.csv and TensorBoard, which every training writes; wandb: Weights & Biases as well."""
    project: str = "glioskull"
    """Project that the run belongs to."""
    entity: str | None = None
    """User or team; null: the account's own."""
    title: str | None = None
    """Name of the run there; null: that of the run's folder."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """online: sent while training; offline: into RUN/wandb, which `wandb sync` sends later; auto: online where an API key is
    known, else offline. What cannot be sent at the start is logged offline. WANDB_MODE goes before."""
    examples: int = 3
    """Validation cases that are drawn at the end, with the best weights: image, annotation, prediction."""
    upload_mb: float = 500.0
    """Largest size of the files that are stored there: history, settings, last weights, newest state, best weights, in this
    order; those that do not fit are named and left out."""
    timeout: float = 30.0
    """Seconds that the server may take for an answer, and at the end for all that is left to send."""

    def check(self) -> None:
        """Refuse numbers and names that make no log.

        Raises:
            UserError: a number out of its range, or no project.
        """
        expect_number("logger.examples", self.examples, 0)
        expect_number("logger.upload_mb", self.upload_mb, 0)
        expect_number("logger.timeout", self.timeout, 0, above=True)
        if not self.project or "/" in self.project:
            raise UserError(f"--logger.project: expected a name without slashes; received {self.project!r}")
