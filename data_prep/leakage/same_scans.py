"""Copies of scans found by the checksums of their files and of their voxels, whatever the scans are called."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class ScanChecksums:
    """Checksums of a scan's files and images.

    Attributes:
        case: id of the scan.
        files: bytes and CRC-32C of its files, equal ones once.
        voxels: `voxel_checksum` of its images.
        others: number of further files, which are known to be in none of the scans that it is compared with.
    """

    case: str
    files: frozenset[tuple[int, int]] = frozenset()
    voxels: frozenset[str] = frozenset()
    others: int = 0


class ScanIndex(Generic[T]):
    """Index of scans by the checksums of their files and images.

    Args:
        scans: checksums of each scan, and what is to be found by them.
    """

    def __init__(self, scans: Iterable[tuple[ScanChecksums, T]]) -> None:
        self._scans = list(scans)
        self._by_file: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self._by_voxels: defaultdict[str, list[int]] = defaultdict(list)
        for place, (scan, _) in enumerate(self._scans):
            for file in scan.files:
                self._by_file[file].append(place)
            for image in scan.voxels:
                self._by_voxels[image].append(place)

    @property
    def sizes(self) -> set[int]:
        """Bytes of all files."""
        return {size for size, _ in self._by_file}

    @property
    def has_voxels(self) -> bool:
        """True where images can be compared; the files of older runs and records are all that is known of their scans."""
        return bool(self._by_voxels)

    def find(self, scan: ScanChecksums) -> list[T]:
        """Scans that are copies of a scan, in their order.

        A copy shares an image with the other, or at least half of its files, counted in the scan that has fewer of them: single
        files, such as slices without annotation, are equal in different patients. Of scans of one id a file is enough.
        """
        shared = Counter(place for file in scan.files for place in self._by_file.get(file, ()))
        copies = {place for image in scan.voxels for place in self._by_voxels.get(image, ())}
        for place, count in shared.items():
            other = self._scans[place][0]
            if other.case == scan.case or 2 * count >= min(len(scan.files) + scan.others, len(other.files)):
                copies.add(place)
        return [self._scans[place][1] for place in sorted(copies)]
