"""Command: a report of a run, a cross-validation, predictions, a comparison or a study: one web page to open."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

from common import cli
from common.config_bases import ConfigWithTrust
from common.errors import MissingPackage, UserError
from common.files import read_text, write_text
from common.tables import counted
from data_prep.scans.case import CaseFiles
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.split import fold_names
from evaluation.figures.runs import draw_learning_curves
from evaluation.heads.curves import HeadCurves, by_heads, curves_of_heads
from evaluation.inference.prediction_facts import read_prediction_facts
from evaluation.inference.predictions import MANIFEST, open_predictions
from evaluation.reports.charts import chart
from evaluation.reports.classes import classes_section
from evaluation.reports.content import Paragraph, Report, Section
from evaluation.reports.markdown_tables import blocks
from evaluation.reports.methods import methods_section
from evaluation.reports.niivue import niivue_module
from evaluation.reports.page import html
from evaluation.reports.patients import PatientFacts, patients_section, shown_attributes, worst_first
from evaluation.reports.scans import chosen_cases, scan_viewer
from evaluation.reports.scores import scores_section
from evaluation.reports.subject import CROSS_VALIDATION, Subject, find_subject
from evaluation.scores.folder import scored_cases
from training.patients import read_patients

PAGE = 2_000_000  # bytes of a page that are no scans: the viewer, charts and tables


@dataclass(kw_only=True)
class ReportConfig(SourceConfig, ConfigWithTrust):
    """Write a report: one HTML file that needs no network.

    It has the scores with intervals, a table of patients to sort and filter, a viewer of their scans with annotation and
    prediction, the worst first, learning curves, and what was done.
    """

    of: Path
    """Folder of a run, a cross-validation, scored predictions, a comparison (compare --out) or a study."""
    predictions: list[Path] = field(default_factory=list)
    """Scored predictions besides those in the folder, such as those of a run."""
    source: Path | None = None
    """The scans; default: their place when they were predicted."""
    out: Path = Path("report.html")
    """HTML file to write."""
    scans: int = 75
    """Patients whose scans can be looked at, the worst first; 0 leaves the viewer out."""
    megabytes: float = 20.0
    """Largest size of the page; scans are made smaller until they fit."""
    channel: str | None = None
    """Channel that is shown; default: that on which the annotation was drawn, else FLAIR, else the first."""
    hide_ids: bool = False
    """Number the patients in the place of their ids, the worst first; names of runs and folders stay."""


def main(config: ReportConfig) -> None:
    """Write the page, and print its place and size."""
    if config.scans < 0 or 1e6 * config.megabytes <= PAGE:
        raise UserError(
            f"--scans, --megabytes: expected at least 0 and more than {PAGE / 1e6:g}; "
            f"received {config.scans} and {config.megabytes:g}"
        )
    subject = find_subject(config.of, config.predictions)
    today = date.today()
    text = html(make_report(config, subject), f"Made by glioskull from {subject.name}, {today.day} {today:%B %Y}.")
    write_text(config.out, text)
    print(f"report: {config.out} ({len(text.encode()) / 1e6:.2f} MB); open it in a browser")


def make_report(config: ReportConfig, subject: Subject) -> Report:
    """Content of the report of a subject."""
    scored = next(iter(subject.predictions.values()), None)
    patients = [] if scored is None else worst_first(scored)
    source = None if scored is None else _open_source(config, scored)
    cases = [] if source is None or scored is None else chosen_cases(source, scored_cases(scored), patients, config.scans)
    attributes = {} if source is None else {files.patient: files.attributes for files in source.cases()}
    facts = PatientFacts(
        {patient: f"patient {number}" if config.hide_ids else patient for number, patient in enumerate(patients, 1)},
        shown_attributes(attributes, patients, config.hide_ids),
        {files.patient: number for number, files in reversed(list(enumerate(cases)))},
        _folds(subject, attributes),
    )
    sections = [
        _state_section(subject, patients),
        Section("Comparison", [block for file in subject.tables for block in blocks(read_text(file, "table"))]),
        scores_section(subject.predictions, subject.slices),
        classes_section(subject.classes),
        patients_section(subject.predictions, facts),
        _scans_section(config, subject, source, cases, facts),
        _curves_section(subject),
        methods_section(subject.runs),
    ]
    count = f", {counted(len(patients), 'patient')}" if patients else ""
    return Report(subject.name, f"Report of {subject.described}{count}", [section for section in sections if section.blocks])


def _state_section(subject: Subject, patients: Sequence[str]) -> Section:
    """Section with a warning where a cross-validation has no scores yet."""
    finished = subject.kind != CROSS_VALIDATION or patients or subject.classes
    text = "The cross-validation is not finished: no patient is scored yet. The command that began it goes on with it."
    return Section("State", [] if finished else [Paragraph(text, "warning")])


def _open_source(config: ReportConfig, predictions: Path) -> Source | None:
    """The scans that were predicted; None where they are no longer there and none are given."""
    manifest = predictions / MANIFEST
    stored = Path(read_prediction_facts(manifest)["source"]) if manifest.is_file() else None
    root = config.source or (stored if stored is not None and stored.exists() else None)
    return None if root is None else open_source(root, config, open_predictions(predictions, []).schema)


def _folds(subject: Subject, attributes: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Validation patients of each fold of a cross-validation."""
    if subject.kind != CROSS_VALIDATION:
        return {}
    folds = [sorted({case.patient for case in read_patients(run).validation}) for run in subject.runs.values()]
    return dict(zip(fold_names(folds, attributes), folds, strict=True))


def _scans_section(
    config: ReportConfig, subject: Subject, source: Source | None, cases: Sequence[CaseFiles], facts: PatientFacts
) -> Section:
    """Section with the viewer of the scans; a note where its package is not installed."""
    if source is None or not cases:
        return Section("Scans", [])
    schema = source.schema or open_predictions(next(iter(subject.predictions.values())), []).schema
    if schema is None:
        raise UserError(f"{source.root}: the layout implies no label schema; name one by --labels")
    room = int(1e6 * config.megabytes) - PAGE
    try:
        module = niivue_module()
    except MissingPackage as error:
        print(f"warning: the report has no scans: {error}")
        return Section("Scans", [Paragraph(f"{error}.", "note")])
    options = (subject.predictions, facts.names, schema, module, room, config.channel)
    return Section("Scans", [scan_viewer(source, cases, *options)])


def _curves_section(subject: Subject) -> Section:
    """Section with the learning curves of all runs."""
    runs = {name: run for name, run in subject.runs.items() if (run.path / "history.csv").is_file()}
    if not runs:
        return Section("Learning curves", [])
    every = [figure for alike in by_heads(runs) for figure in curves_of_heads(alike)]
    figures = [figure for figure in every if "iou" not in figure.name]  # Dice says the same
    return Section("Learning curves", [chart(_drawing(figure), f"Loss and {figure.curves.title}.") for figure in figures])


def _drawing(figure: HeadCurves) -> Callable[[Path], list[Path]]:
    """Function that draws a figure of learning curves into a file."""
    return partial(draw_learning_curves, histories=figure.histories, curves=figure.curves)


if __name__ == "__main__":
    cli.run(main, ReportConfig)
