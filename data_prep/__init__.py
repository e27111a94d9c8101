"""From scans to records: sources, geometry, labels, preparation, augmentation and the record format."""

import common  # noqa: F401  # its interrupts hold before the imports of any command
