"""Post-processing that was applied to predictions: its setting in words, and the patients on whom it was chosen."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from common.tables import counted
from evaluation.inference.postprocess import PostprocessConfig, choice_of, describe
from evaluation.inference.provenance import short_path

Applied = dict[str, Any]
"""Entry of a manifest: head, setting (in words), and where it was chosen metric, structure, patients (ids) and file."""


def applied_rules(head: str, rules: PostprocessConfig, files: Sequence[Path]) -> Applied:
    """Entry for the post-processing of a head.

    Args:
        head: its name.
        rules: that are applied.
        files: that hold them, with how they were chosen; those of all runs, or the one that was given.
    """
    entry: Applied = {"head": head, "setting": describe(rules)}
    choices = [(file, choice_of(file)) for file in files]
    patients = sorted({str(patient) for _, choice in choices for patient in choice.get("patient_ids", [])})
    for file, choice in choices[:1]:
        entry["file"] = str(file.resolve())
        entry |= {name: choice[name] for name in ("metric", "structure") if name in choice}
    number = len(patients) or sum(int(choice.get("patients", 0)) for _, choice in choices)
    return entry | ({"patients": number, "patient_ids": patients} if number else {})


def applied_line(entry: Applied, scored: Collection[str] = ()) -> str:
    """Line on a post-processing: setting, metric and patients by which it was chosen, and how many of them are scored.

    Args:
        entry: as of `applied_rules`, or from a manifest.
        scored: ids of the patients that are scored.
    """
    line = f"post-processing: {str(entry.get('setting', 'unknown')).removeprefix('no post-processing') or 'none'}"
    if entry.get("patients"):
        number = counted(int(entry["patients"]), "validation patient")
        aim = f" by {entry['metric']} of {entry.get('structure', '')}" if "metric" in entry else ""
        line += f"; chosen on {number}{aim}"
    elif "file" in entry:
        line += "; how it was chosen is not stored"
    if "file" in entry:
        line += f" ({short_path(str(entry['file']))})"
    same = {str(patient) for patient in entry.get("patient_ids", [])} & set(scored)
    return f"{line}; {len(same)} of {len(scored)} scored patients are among them: optimistic" if same else line
