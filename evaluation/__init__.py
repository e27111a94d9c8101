"""From runs to predictions, scores, figures and reports."""

import common  # noqa: F401  # its interrupts hold before the imports of any command
