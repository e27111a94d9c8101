"""Search for training patients among scans that are predicted: by their files before these are read, then by their images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common.files import checksum
from data_prep.leakage.same_scans import ScanChecksums
from data_prep.leakage.voxel_checksum import voxel_checksums
from data_prep.scans.case import Case, CaseFiles
from evaluation.inference.provenance import TrainingCases, find_copies, merge_training_cases, print_training, unknown_training
from training.patients import index_scans, read_patients
from training.run import Run


class TrainingSearch:
    """Search for the cases of a source that trained runs, or the runs with whose weights these began.

    What trained a run is stored with it (`training.patients`); `ScanIndex.find` defines a copy.

    Args:
        runs: that predict the cases.
        cases: whose files are compared at once, which reads no scan.
        known: cases that an earlier search has found.
    """

    def __init__(self, runs: Sequence[Run], cases: Sequence[CaseFiles], known: Sequence[dict[str, Any]] = ()) -> None:
        self._indices = [index_scans(read_patients(run).training) for run in runs]
        self._patients = {files.id: files.patient for files in cases}
        self._unknown = unknown_training(runs)
        self._by_files = merge_training_cases([*known, *self._compare_files(cases)])
        self._by_images: TrainingCases = []

    @property
    def found(self) -> TrainingCases:
        """Cases that were found, as of `provenance.find_training_records`."""
        return merge_training_cases([*self._by_files, *self._by_images])

    def compare_images(self, case: Case) -> None:
        """Compare the images of a case as it was read: they are equal in copies that were saved anew."""
        indices = [index for index in self._indices if index.has_voxels]
        voxels = frozenset(voxel_checksums(case.channels).values()) if indices else frozenset()
        for index in indices:
            self._by_images += find_copies(index, ScanChecksums(case.files.id, voxels=voxels))

    def print_found(self) -> None:
        """Print how many patients trained the runs."""
        print_training(self.found, self._patients, self._unknown)

    def print_warning(self) -> None:
        """Print the warning that the files alone give rise to, before the work begins."""
        if self._by_files or self._unknown:
            self.print_found()

    def print_rest(self) -> None:
        """Print how many patients trained the runs, unless `print_warning` has said it."""
        if self.found != self._by_files or not (self._by_files or self._unknown):
            self.print_found()

    def _compare_files(self, cases: Sequence[CaseFiles]) -> Iterator[dict[str, Any]]:
        """Entries of the cases whose files trained a run; files are read only where a training file has their size."""
        checksums: dict[Path, int] = {}
        for index in self._indices:
            sizes = index.sizes
            for files in cases:
                alike = [path for path in files.paths if path.stat().st_size in sizes]
                for path in alike:
                    if path not in checksums:
                        checksums[path] = int(checksum(path), 16)
                own = frozenset((path.stat().st_size, checksums[path]) for path in alike)
                yield from find_copies(index, ScanChecksums(files.id, own, others=len(files.paths) - len(alike)))
