"""BraTS 2012-2025: a folder of NIfTI files per case, in every naming style of those years.

2012-2021: `ID_flair`, `ID_t1`, `ID_t1ce` (or `t1gd`, `t1c`), `ID_t2`, `ID_seg`; 2023-2025: `ID-t2f`, `ID-t1n`, `ID-t1c`,
`ID-t2w`, `ID-seg`; UCSF-BMSR, the metastases that BraTS 2023 recommends: `ID_FLAIR`, `ID_T1pre`, `ID_T1post`, `ID_T2Synth`,
`ID_BraTS-seg`; BraTS-MEN-RT, meningiomas before radiotherapy: `ID_t1c` alone, and `ID_gtv`; any letter case. Case folders may
lie at any depth. A folder HGG or LGG above them gives the attribute `grade`, and so does a `name_mapping*.csv` (BraTS
2018-2020). The attribute `tumour` is `mets` for metastases, `hgg` or `lgg` where the grade is known. The years differ in label
ids: a folder such as MICCAI-LH-BraTS2025-MET-Challenge-Training gives the year.

Collections of TCIA with these channels have labels of their own names: UCSF-PDGM `ID_tumor_segmentation`, TCGA-GBM and TCGA-LGG
`ID_GlistrBoost_ManuallyCorrected`, else `ID_GlistrBoost`, and UPENN-GBM, in a folder beside that of the scans, `ID_segm`, else
`ID_automated_approx_segm`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from common.errors import Problems, UserError
from common.tables import counted, read_rows
from data_prep.labels import LabelSchema
from data_prep.scans import nifti
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources.base import SourceConfig, choose_channels, sorted_cases
from data_prep.sources.nifti_source import NiftiSource
from data_prep.sources.walk import passed_by, visible_files

CHANNELS = ["flair", "t1", "t1ce", "t2"]
LABEL = "label"
KINDS = {
    **dict.fromkeys(("flair", "t2f"), "flair"),
    **dict.fromkeys(("t1", "t1n", "t1pre"), "t1"),
    **dict.fromkeys(("t1ce", "t1gd", "t1c", "t1post"), "t1ce"),
    **dict.fromkeys(("t2", "t2w", "t2synth"), "t2"),
    **dict.fromkeys(("seg", "segm", "brats-seg", "gtv"), LABEL),  # BraTS 2020 has a single `_Segm`, of case 355
    **dict.fromkeys(("tumor_segmentation", "glistrboost_manuallycorrected", "glistrboost", "automated_approx_segm"), LABEL),
}
AUTOMATIC = ("glistrboost", "automated_approx_segm")  # labels that a program made, used where nobody corrected them
NAME = re.compile(rf"^(?:(?P<id>.+?)(?P<separator>[-_]))?(?P<kind>{'|'.join(KINDS)})$", re.IGNORECASE)
OLDER_KINDS = {"flair", "t1", "t1ce", "t1gd", "t2"}
NEWER_KINDS = {"t2f", "t1n", "t2w"}
UCSF_KINDS = {"t1pre", "t1post", "t2synth", "brats-seg"}
# Patients who were scanned several times: the last number, of UCSF-BMSR the letter, counts the scans.
NEWER_ID = re.compile(r"^(?P<patient>BraTS-.*-\d+)-\d+$", re.IGNORECASE)
OLDEST_ID = re.compile(r"^(?P<patient>brats_(?:2013|tcia)_pat\d+)_\d+$", re.IGNORECASE)
UCSF_ID = re.compile(r"^(?P<patient>\d{6})[A-Z]$")
TCIA_ID = re.compile(
    r"^(?:(?P<pdgm>UCSF-PDGM-\d+)_FU\d+d|(?P<penn>UPENN-GBM-\d+)_\d\d|(?P<tcga>TCGA-\w\w-\w{4})_\d{4}\.\d\d\.\d\d)$"
)
METASTASES = re.compile(r"^BraTS-METS?-", re.IGNORECASE)
CHILDREN = re.compile(r"^BraTS-PED-", re.IGNORECASE)  # since 2024 their ids mean other tissue than those of 2023
GRADES = ("HGG", "LGG")
# Folders of challenges whose annotations have resection cavities: metastases, and gliomas after treatment.
CHALLENGE = re.compile(r"BraTS[-_ ]?(?:PEDs?[-_ ]?)?(?:20)?(?P<year>\d\d)(?!\d)(?!.*GLI-PRE)", re.IGNORECASE)
CAVITIES_SINCE = 24
CAVITY_ID = re.compile(r"^BraTS-(?:METS?|GLI)-", re.IGNORECASE)
RADIOTHERAPY = re.compile(r"^BraTS-MEN-RT-", re.IGNORECASE)  # one channel; the annotation is a target volume, 0 and 1
RADIOTHERAPY_SCHEMA = "binary"
UNDERSCORE_SCHEMAS = ("brats2017-2021", "brats2012-2015")
HYPHEN_SCHEMAS = ("brats2023", "brats2024")
CHILDREN_SCHEMA, CHILDREN_SINCE = "brats2024-ped", 24
OTHER_CHALLENGE = re.compile(r"^BraTS-(?:MEN|SSA|PED|GoAT)-", re.IGNORECASE)  # without cavities


@dataclass
class _Group:
    """Files of one case: those in one folder whose names have the same prefix."""

    id: str
    folder: Path
    separator: str | None
    files: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    kinds: set[str] = field(default_factory=set)

    def add(self, kind: str, path: Path) -> None:
        """Add a file by the ending of its name."""
        self.kinds.add(kind)
        self.files[KINDS[kind]].append(path)

    @property
    def is_ucsf(self) -> bool:
        """True for names of UCSF-BMSR; others may have T1pre and T1post as well."""
        return "brats-seg" in self.kinds or (bool(self.kinds & UCSF_KINDS) and UCSF_ID.match(self.id) is not None)

    @property
    def is_newer(self) -> bool:
        """True for names of 2023 and later, and of UCSF-BMSR, which has their ids."""
        return bool(self.kinds & NEWER_KINDS) or self.is_ucsf or (self.separator == "-" and not self.kinds & OLDER_KINDS)

    def schema(self, folders: list[str]) -> str:
        """Name of the label schema that the names of the files and of the `folders` around them, outermost first, imply.

        Raises:
            UserError: the ids have two meanings, and no name says which of both.
        """
        if self.is_radiotherapy:
            return RADIOTHERAPY_SCHEMA
        if not self.is_newer:
            return UNDERSCORE_SCHEMAS[1] if OLDEST_ID.match(self.id) else UNDERSCORE_SCHEMAS[0]
        named = next((match for name in reversed(folders) if (match := CHALLENGE.search(name))), None)
        if self.is_of_child:
            if named is None and LABEL in self.files:
                raise UserError(
                    f"{self.files[LABEL][0]}: the ids of BraTS-PED mean other tissue since 2024, and no folder's name gives "
                    f"the year: give --labels {CHILDREN_SCHEMA} for 2024 and later, or --labels {HYPHEN_SCHEMAS[0]} for 2023"
                )
            return CHILDREN_SCHEMA if named is not None and int(named["year"]) >= CHILDREN_SINCE else HYPHEN_SCHEMAS[0]
        cavities = named is not None and int(named["year"]) >= CAVITIES_SINCE and CAVITY_ID.match(self.id)
        return HYPHEN_SCHEMAS[1] if cavities else HYPHEN_SCHEMAS[0]

    @property
    def patient(self) -> str:
        """Patient id: the case id without the number or the day of the scan."""
        if named := TCIA_ID.match(self.id):
            return next(name for name in named.groups() if name)
        match = NEWER_ID.match(self.id) or OLDEST_ID.match(self.id) or (UCSF_ID.match(self.id) if self.is_ucsf else None)
        return match["patient"] if match else self.id

    @property
    def is_radiotherapy(self) -> bool:
        """True for cases of BraTS-MEN-RT."""
        return "gtv" in self.kinds or RADIOTHERAPY.match(self.id) is not None

    @property
    def is_of_child(self) -> bool:
        """True for cases of BraTS-PED."""
        return CHILDREN.match(self.id) is not None

    @property
    def has_metastases(self) -> bool:
        """True for cases of BraTS-METS and UCSF-BMSR."""
        return self.is_ucsf or METASTASES.match(self.id) is not None


class BratsSource(NiftiSource):
    """Source in the layout of the Brain Tumor Segmentation challenge (BraTS)."""

    layout = "brats"
    looks_for = "files named ID_flair.nii.gz, ID_t1ce.nii.gz ... or ID-t2f.nii.gz, ID-t1c.nii.gz ... at any depth"

    def __init__(self, root: Path, config: SourceConfig) -> None:
        super().__init__(root, config)
        groups = _groups(root)
        available = ["t1ce"] if all(group.is_radiotherapy for group in groups) else CHANNELS
        self.channels = choose_channels(available, config.channels, root)
        _refuse_doubles(groups, root)
        schema = config.labels if config.labels != "auto" else _implied_schema(groups, root)
        self.schema = LabelSchema.load(schema)
        self.likely_schemas = _likely_schemas(groups)
        self._cases = sorted_cases((self._case(group) for group in groups), root, config.patient_pattern)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder with any file that is named as a channel of BraTS."""
        if not root.is_dir():
            return False
        matches = (match for path in visible_files(root) if (match := _match(path)))
        return any(KINDS[match["kind"].lower()] != LABEL for match in matches)

    def source_warnings(self) -> list[str]:
        """Warnings about images whose names are none of BraTS, and about labels that a program made, a line each."""
        automatic = [case.label.path for case in self._cases if case.label is not None and _ends_in(case.label.path, AUTOMATIC)]
        lines = passed_by(self.root, (), (path for path in visible_files(self.root) if not _match(path)))
        if automatic:
            made = "label was made by a program and" if len(automatic) == 1 else "labels were made by a program and"
            lines.append(f"{self.root}: {len(automatic)} {made} not corrected by hand, such as {automatic[0].name}")
        return lines

    def expected_file(self, files: CaseFiles, channel: str) -> str:
        """Description of the file of a missing channel: its possible endings."""
        endings = " or ".join(kind for kind, name in KINDS.items() if name == channel)
        return f"expected a name ending in {endings}"

    def _case(self, group: _Group) -> CaseFiles:
        """Case of a group of files."""
        images = {name: ImageRef(paths[0]) for name, paths in group.files.items()}
        folders = _folders_around(group.folder, self.root)
        of_folder = next((name.upper() for name in reversed(folders) if name.upper() in GRADES), None)
        grade = self._grades.get(group.id) or of_folder
        tumour = "mets" if group.has_metastases else grade.lower() if grade else None
        attributes = {"grade": grade, "tumour": tumour}
        return CaseFiles(
            id=group.id,
            patient=group.patient,
            channels={name: images.get(name) for name in self.channels},
            label=images.get(LABEL),
            attributes={name: value for name, value in attributes.items() if value},
        )

    @cached_property
    def _grades(self) -> dict[str, str]:
        """Case id -> grade, from the tables that came with BraTS 2018-2020."""
        grades: dict[str, str] = {}
        for path in visible_files(self.root):
            if path.name.lower().startswith("name_mapping") and path.suffix.lower() == ".csv":
                grades |= _mapped_grades(path)
        return grades


def _folders_around(folder: Path, root: Path) -> list[str]:
    """Names of the folders around files, outermost first: parent of the root, root, and those below it."""
    return [*root.resolve().parts[-2:], *folder.relative_to(root).parts]


def _mapped_grades(path: Path) -> dict[str, str]:
    """Grade by id, from all id columns of a name mapping."""
    rows = [{name.lower(): value for name, value in row.items()} for row in read_rows(path)]
    return {
        identifier: row["grade"].upper()
        for row in rows
        if row.get("grade", "").upper() in GRADES
        for column, identifier in row.items()
        if column.endswith("subject_id") and identifier not in ("", "NA")
    }


def _match(path: Path) -> re.Match[str] | None:
    """Id, separator and ending of a file's name."""
    return NAME.match(nifti.stem(path)) if path.name.lower().endswith(nifti.SUFFIXES) else None


def _groups(root: Path) -> list[_Group]:
    """Files below `root` grouped into cases."""
    groups: dict[tuple[Path, str], _Group] = {}
    for path in visible_files(root):
        match = _match(path)
        if match:
            identifier = match["id"] or path.parent.resolve().name
            group = groups.setdefault((path.parent, identifier), _Group(identifier, path.parent, match["separator"]))
            group.add(match["kind"].lower(), path)
    for group in groups.values():
        if "brats-seg" in group.kinds:  # UCSF-BMSR has a `_seg` too, with ids of its own
            group.files[LABEL] = [
                path for path in group.files[LABEL] if path.name.lower().partition(".")[0].endswith("brats-seg")
            ]
    found = _with_distant_labels(_with_labels(list(groups.values())))
    for group in found:
        by_hand = [path for path in group.files.get(LABEL, ()) if not _ends_in(path, AUTOMATIC)]
        if by_hand:
            group.files[LABEL] = by_hand
    return found


def _ends_in(path: Path, kinds: Iterable[str]) -> bool:
    """True for a name that ends in one of several kinds, such as `x_GlistrBoost.nii.gz`."""
    return nifti.stem(path).lower().endswith(tuple(kinds))


def _with_distant_labels(groups: list[_Group]) -> list[_Group]:
    """Groups with labels in other folders, as of UPENN-GBM, assigned to the only scan of their id if it has none."""
    scans: defaultdict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        if group.files.keys() - {LABEL}:
            scans[group.id].append(group)
    free = {identifier: found[0] for identifier, found in scans.items() if len(found) == 1 and LABEL not in found[0].files}
    kept = []
    for group in groups:
        scan = free.get(group.id)
        if scan is None or scan is group or group.files.keys() - {LABEL}:
            kept.append(group)
        else:
            scan.files[LABEL] += group.files[LABEL]
    return kept


def _with_labels(groups: list[_Group]) -> list[_Group]:
    """Groups with labels of another name assigned: a folder's only label belongs to its only case."""
    folders: defaultdict[Path, list[_Group]] = defaultdict(list)
    for group in groups:
        folders[group.folder].append(group)
    for members in folders.values():
        scans = [group for group in members if group.files.keys() - {LABEL}]
        labels = [group for group in members if not group.files.keys() - {LABEL}]
        if len(scans) == len(labels) == 1 and LABEL not in scans[0].files:
            scans[0].files[LABEL] = labels[0].files[LABEL]
            groups.remove(labels[0])
    return groups


def _refuse_doubles(groups: list[_Group], root: Path) -> None:
    """Refuse cases that have a channel in more than one file."""
    lines = [
        f"{paths[0]}: case {group.id} has {name} in more than one file, also in {', '.join(map(str, paths[1:]))}; keep one"
        for group in groups
        for name, paths in group.files.items()
        if len(paths) > 1
    ]
    if lines:
        raise Problems(lines, f"{root}: {counted(len(lines), 'channel')} in more than one file")


def _likely_schemas(groups: list[_Group]) -> tuple[str, ...]:
    """Schemas of the challenges that the names are of, to suggest where an id is unknown."""
    if any(group.is_radiotherapy for group in groups):
        return (RADIOTHERAPY_SCHEMA,)
    if any(group.is_of_child for group in groups):
        return (CHILDREN_SCHEMA,) if all(group.is_of_child for group in groups) else ()
    if any(OTHER_CHALLENGE.match(group.id) for group in groups):
        return HYPHEN_SCHEMAS[:1]
    return HYPHEN_SCHEMAS if any(group.is_newer for group in groups) else UNDERSCORE_SCHEMAS


def _implied_schema(groups: list[_Group], root: Path) -> str:
    """Label schema that the names of files and folders imply.

    Raises:
        UserError: the source has names of years whose label ids differ.
    """
    examples = {group.schema(_folders_around(group.folder, root)): group.id for group in groups}
    if len(examples) > 1 and set(examples) <= set(HYPHEN_SCHEMAS):
        return HYPHEN_SCHEMAS[1]  # it has the ids of the other
    if len(examples) > 1:
        named = ", ".join(f"{identifier} ({schema})" for schema, identifier in sorted(examples.items()))
        raise UserError(f"{root}: names of several years, whose label ids differ: {named}; open them apart, or give --labels")
    return next(iter(examples), UNDERSCORE_SCHEMAS[0])
