"""Rules of a DICOM source, a YAML file: a series for each channel, the annotation, the ids of cases."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from common import cli
from common.configs import find_config
from common.errors import UserError
from common.files import read_yaml
from data_prep.scans.dicom import CONTRAST_WORDS, NO_AGENT, NO_CONTRAST, Series

DEFAULT = "skull_base/series"
SHORTEST_UID = 6  # characters of a UID's end that may stand for it
Division = Literal["auto", "folder", "id"]
Preference = Literal["finest", "slices", "first", "last"]


@dataclass(kw_only=True)
class SeriesRule:
    """Rule for the series of a channel; all that is given must hold."""

    modality: str | None = None
    """Modality, such as MR or CT."""
    description: str | None = None
    """Regular expression, searched in the series description without regard to letter case."""
    exclude: str | None = None
    """Regular expression that the description must not have."""
    plane: Literal["axial", "coronal", "sagittal"] | None = None
    """Plane of the slices; oblique ones count as the nearest."""
    contrast: bool | None = None
    """Whether a contrast agent was given: named in the header, or in the description (such as "+C", Gd, post)."""
    max_spacing_mm: float | None = None
    """Largest side of a voxel."""
    min_slices: int = 5
    """Fewest slices; scouts have fewer."""
    original: bool | None = None
    """Whether the images are the scanner's own, as opposed to derived ones such as reformatted planes."""
    uid: list[str] = field(default_factory=list)
    """Series instance UIDs, or their last characters, at least six; one for each patient. All other rules are passed over."""

    def fits(self, series: Series) -> bool:
        """True for a series that the rule allows."""
        if self.uid:
            return any(series.uid.endswith(uid) for uid in self.uid)
        text = series.description
        return (
            not series.is_scout
            and series.colours == 1
            and (self.modality is None or series.modality.upper() == self.modality.upper())
            and (self.description is None or re.search(self.description, text, re.IGNORECASE) is not None)
            and (self.exclude is None or re.search(self.exclude, text, re.IGNORECASE) is None)
            and (self.plane is None or series.stack.plane == self.plane)
            and (self.contrast is None or has_contrast(series) == self.contrast)
            and (self.max_spacing_mm is None or max(series.voxel_mm) <= self.max_spacing_mm + 1e-3)
            and (self.original is None or series.is_original == self.original)
            and len(series.frames) >= self.min_slices
        )

    def __str__(self) -> str:
        """Rule in words, for errors."""
        if self.uid:
            return f"uid {' or '.join(self.uid)}"
        given = {name: value for name, value in vars(self).items() if value not in (None, []) and name != "min_slices"}
        return ", ".join([*(f"{name} {value}" for name, value in given.items()), f"at least {self.min_slices} slices"])


@dataclass(kw_only=True)
class LabelRule:
    """Rule for the annotation of a patient."""

    description: str | None = None
    """Regular expression, searched in the series description of a DICOM SEG or RTSTRUCT."""
    file: str | None = None
    """Name of a NIfTI file below the patient's folder, with wildcards, such as '*_seg.nii.gz'; instead of DICOM."""
    structures: dict[str, int] = field(default_factory=dict)
    """Regular expression of a segment's or structure's whole name -> label id; later ones lie over earlier ones, names that no
    one fits are left out. Default: the only structure is 1, of several those that are called as classes of the schema."""
    finer: int = 1
    """Contours: each voxel is divided into so many parts along its rows and columns, and at least half must lie inside."""

    def fits(self, description: str) -> bool:
        """True for the description of an annotation that the rule allows."""
        return self.description is None or re.search(self.description, description, re.IGNORECASE) is not None


@dataclass(kw_only=True)
class DicomRules:
    """Rules of a DICOM source."""

    channels: dict[str, SeriesRule]
    """Name of a channel -> rule of its series."""
    reference: str | None = None
    """Channel whose grid the others and the label are brought to; default: the first that the patient has."""
    prefer: Preference | None = None
    """Choice among several series that fit: finest (smallest voxels), slices (most slices), first or last (by number)."""
    label: LabelRule = field(default_factory=LabelRule)
    """The annotation."""
    max_gap: float = 1.5
    """Largest distance of neighbouring slices, as a multiple of the usual one, that interpolation bridges."""
    patients: Division = "auto"
    """Patients of a folder: each sub-folder is one (folder), each PatientID (id), or the one that fits the files (auto)."""
    ids: Literal["hash", "folder", "patient_id"] = "hash"
    """Case ids: a hash of PatientID, the folder's name, or PatientID itself; characters that file names lack become _."""
    salt: str = ""
    """Secret of the hash: without it nobody finds a PatientID by trying all numbers."""
    table: Path | None = None
    """CSV file, relative to the rules: a row per patient by `folder` or `dicom_patient_id`, with `case_id`, optionally
    `patient_id`, and attributes."""
    keep_identity: bool = False
    """DICOM that is written keeps the patient's name and dates."""

    def check(self, where: Path) -> None:
        """Refuse rules that cannot work; `where` names the file."""
        if not self.channels:
            raise UserError(f"{where}: channels: expected at least one name with its rule; received none")
        if self.reference is not None and self.reference not in self.channels:
            raise UserError(f"{where}: reference: expected one of {', '.join(self.channels)}; received {self.reference}")
        if not 1 <= self.max_gap < float("inf") or not 1 <= self.label.finer <= 16:
            raise UserError(f"{where}: expected max_gap of at least 1, and label.finer of 1 to 16")
        for name, rule in self.channels.items():
            for key, value, least in (("min_slices", rule.min_slices, 1), ("max_spacing_mm", rule.max_spacing_mm, 0)):
                if value is not None and value < least:
                    raise UserError(f"{where}: channels.{name}.{key}: expected at least {least}; received {value}")
        patterns = [self.label.description, *self.label.structures]
        for name, rule in self.channels.items():
            patterns += [rule.description, rule.exclude]
            if any(len(uid) < SHORTEST_UID for uid in rule.uid):
                raise UserError(
                    f"{where}: channels.{name}.uid: expected at least {SHORTEST_UID} characters; received {rule.uid}"
                )
        for pattern in patterns:
            try:
                re.compile(pattern or "")
            except re.error as error:
                raise UserError(f"{where}: {pattern!r} is no regular expression ({error})") from None

    def fitting(self, name: str, series: Sequence[Series]) -> list[Series]:
        """Series that the rule of a channel allows."""
        return [each for each in series if self.channels[name].fits(each)]

    def choose(self, name: str, series: Sequence[Series]) -> list[Series]:
        """Series of a channel: one, none, or several between which `prefer` does not decide."""
        fitting = self.fitting(name, series)
        if len(fitting) < 2 or self.prefer is None:
            return fitting
        orders = {
            "finest": lambda each: (float(np.prod(each.voxel_mm)), -len(each.frames)),
            "slices": lambda each: (-len(each.frames),),
            "first": lambda each: (each.number,),
            "last": lambda each: (-each.number,),
        }
        order = orders[self.prefer]
        best = min(order(each) for each in fitting)
        return [each for each in fitting if order(each) == best]

    def doubtful_contrast(self, found: Collection[str], series: Sequence[Series]) -> str | None:
        """Doubt, in words, where rules ask for a contrast agent and no series names one; else None.

        Args:
            found: channels that any patient has.
            series: of all patients.
        """
        asked = {name: rule.contrast for name, rule in self.channels.items() if not rule.uid}
        after = next((name for name, contrast in asked.items() if contrast is True and name not in found), None)
        before = next((name for name, contrast in asked.items() if contrast is False and name in found), None)
        if after is None or before is None or any(map(has_contrast, series)):
            return None
        return (
            "no series names a contrast agent (ContrastBolusAgent, or a word of its description): "
            f"{after} is found nowhere, and {before} may be images after contrast; choose by description (--series)"
        )


def has_contrast(series: Series) -> bool:
    """True where a contrast agent is named in the header or in the description; words such as "w/o contrast" name none."""
    agent, description = (re.sub(NO_CONTRAST, "", text) for text in (series.contrast, series.description))
    return re.fullmatch(NO_AGENT, agent) is None or re.search(CONTRAST_WORDS, description) is not None


def load_rules(path: Path | None) -> tuple[DicomRules, Path]:
    """Load rules from a YAML file, given by its path or the name of a shipped one; None: the default ones.

    Returns:
        The rules and their file.

    Raises:
        UserError: no such file, an unknown key, or a value of another kind.
    """
    found = find_config(path or DEFAULT, "rules of series", among="series")
    values = read_yaml(found, "rules of series")
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{found}: expected rules of series: a YAML mapping with `channels`; received {type(values).__name__}")
    rules: DicomRules = cli.from_dict(DicomRules, values, found)
    rules.check(found)
    return rules, found
