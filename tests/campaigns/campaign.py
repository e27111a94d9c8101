"""Bounds of a campaign, which tries many random cases of one kind of fault; a short part of each runs with the tests.

A campaign is a module with `SUBJECTS`, the names that --only takes, and `run(bounds)`, which prints what it tries and returns a
line for each fault that it finds.
"""

import time
from dataclasses import dataclass, field

CAMPAIGNS = {name: f"tests.campaigns.{name}" for name in ("kills", "full_disk", "readers")}
"""Name of a campaign -> its module."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of a campaign.

    Attributes:
        only: subject that is tried; None: all of them.
        count: tries of each subject; None: as many as the campaign takes by default.
        seed: of the random numbers.
        minutes: after which no further try begins; None: no limit.
    """

    only: str | None = None
    count: int | None = None
    seed: int = 0
    minutes: float | None = None
    _started: float = field(default_factory=time.monotonic)

    @property
    def is_over(self):
        """True once the minutes have passed."""
        return self.minutes is not None and time.monotonic() - self._started >= 60 * self.minutes

    def subjects(self, known):
        """Subjects to try, out of those of the campaign."""
        return list(known) if self.only is None else [self.only]
