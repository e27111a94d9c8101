"""Methods of a report: data, preparation, network, training and machine of its runs, as facts in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.files import read_json
from evaluation.experiments.table import count_parameters
from evaluation.inference.provenance import run_state
from evaluation.reports.content import FactList, Paragraph, Section
from training.patients import read_patients
from training.phases import resolved_phases
from training.run import Run
from training.state.history import read_history

MOST_NAMED = 5  # runs whose facts are said one by one where they differ
UNKNOWN = "The runs behind these scores are not known, or are no longer where they were."


def methods_section(runs: Mapping[str, Run]) -> Section:
    """Section on what was done; what all runs share is said once."""
    if not runs:
        return Section("What was done", [Paragraph(UNKNOWN, "note")])
    rows = [(name, shared([describe(run) for run in runs.values()], list(runs))) for name, describe in FACTS.items()]
    return Section("What was done", [FactList([row for row in rows if row[1]])])


def shared(texts: Sequence[str], names: Sequence[str]) -> str:
    """Text that all runs share; else that of each, or, of many, only that they differ."""
    if len(set(texts)) == 1:
        return texts[0]
    if len(texts) > MOST_NAMED:
        return "differs between the runs"
    return "; ".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True))


def _data(run: Run) -> str:
    folders = run.metadata["records"]
    sources = dict.fromkeys(Path(folder["source"]["path"]).name for folder in folders if folder.get("source"))
    names = ", ".join(Path(folder["path"]).name for folder in folders)
    return f"records {names}" + (f", made of {', '.join(sources)}" if sources else "")


def _patients(run: Run) -> str:
    seen = read_patients(run)
    training, validation = (len({case.patient for case in cases}) for cases in (seen.training, seen.validation))
    return f"{training} for training" + (f", {validation} kept apart for validation" if validation else "")


def _preparation(run: Run) -> str:
    prepared = run.preparation
    crop, spacing = prepared.crop, prepared.spacing_mm
    cropped = "whole slices" if crop is None else "cut around the brain" if crop == "brain" else f"cut to {words(crop)}"
    return f"intensities by {words(prepared.intensity)}; {cropped}" + (f"; voxels of {words(spacing)} mm" if spacing else "")


def _network(run: Run) -> str:
    model, neighbours = run.config.model, run.config.input.neighbours
    count = count_parameters(run.weights) if any(run.path.glob("*.weights.h5")) else 0
    size = f"{count / 1e6:.2f} M parameters" if count >= 10_000 else f"{count:,} parameters" if count else ""
    context = f"{2 * neighbours + 1} neighbouring slices as input" if neighbours else ""
    rank = f"{model.rank}D" if hasattr(model, "rank") else ""
    return ", ".join(filter(None, [model.name, rank, size, context, f"began with {run.metadata['pretrained']}"]))


def _training(run: Run) -> str:
    given, optimizer = run.config.input, run.config.optimizer
    unit = f"patches of {words(given.patch)}" if given.patch else "slices"
    size = f" resized to {words(given.resize)}" if given.resize else ""
    schedule = f"{optimizer.name}, learning rate {optimizer.learning_rate:g}, {run.config.schedule.name} schedule"
    loss = f"; loss {run.config.loss.name}" if hasattr(run.config, "loss") else ""  # a classifier has but one
    steps = f", {run.config.steps_per_epoch} an epoch" if run.config.steps_per_epoch else ""
    return f"batches of {given.batch_size} {unit}{size}{steps}{loss}; {schedule}"


def _augmentation(run: Run) -> str:
    augment = run.config.augment
    if augment.is_off:
        return "none"
    hidden = ("rank", "probability", "seed", "elastic_sigma", "fill_from", "copies")
    values = {item.name: getattr(augment, item.name) for item in fields(augment) if item.name not in hidden}
    return ", ".join(f"{name.replace('_', ' ')} {words(value)}" for name, value in values.items() if value)


def _length(run: Run) -> str:
    rows = read_history(run.path)
    return run_state(run) + (f" in {rows[-1]['minutes']:.1f} minutes" if rows else "")


def _weights(run: Run) -> str:
    best, rows = run.metadata.get("best_epoch"), read_history(run.path)
    epoch = next((row for row in rows if row["epoch"] == best), rows[-1] if rows else {})
    phases = resolved_phases(run.config)
    phase = phases[min(int(epoch.get("phase", 1)), len(phases)) - 1]
    averaged = f", averaged over the steps before (decay {phase.optimizer.ema:g})" if phase.optimizer.ema else ""
    return (f"of epoch {best}, the best on validation" if best else "of the last epoch") + averaged


def _machine(run: Run) -> str:
    file = run.path / "environment.json"
    if not file.is_file():
        return ""
    values: Any = read_json(file, "environment of the run")
    packages = [f"{name} {number}" for name, number in values.get("packages", {}).items()]
    return "; ".join(filter(None, [values.get("device"), ", ".join(packages), f"Python {values.get('python')}"]))


FACTS: dict[str, Callable[[Run], str]] = {
    "Data": _data,
    "Patients": _patients,
    "Channels": lambda run: ", ".join(run.channels),
    "Preparation": _preparation,
    "Network": _network,
    "Training": _training,
    "Augmentation": _augmentation,
    "Length": _length,
    "Weights": _weights,
    "Seed": lambda run: str(run.config.seed),
    "Machine": _machine,
}
"""Heading -> description of a run."""


def words(value: Any) -> str:
    """Value of an option in words: sizes as `128 x 128`, mappings entry by entry."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {words(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return (" x " if all(isinstance(each, int | float) for each in value) else " ").join(map(words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
