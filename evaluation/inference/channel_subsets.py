"""Channel subsets: scans that lack channels, predicted by networks that were trained with channel dropout."""

from collections.abc import Sequence
from dataclasses import replace

from common.errors import UserError
from data_prep.scans.case import Case, CaseFiles


def present_channels(available: Sequence[str], wanted: Sequence[str], channels: Sequence[str], where: str) -> list[str]:
    """Channels of a network that are read from a source, in the network's order.

    Args:
        available: of the source.
        wanted: those that may be used, of the network's.
        channels: of the network.
        where: names the source in errors.

    Raises:
        UserError: a wanted channel that the network does not have, or a source without any of them.
    """
    if not wanted or not set(wanted) <= set(channels) or len(set(wanted)) < len(wanted):
        raise UserError(f"--channels: expected different ones of {', '.join(channels)}; received {', '.join(wanted) or 'none'}")
    present = [name for name in channels if name in wanted and name in available]
    if not present:
        raise UserError(f"{where}: has channels {', '.join(available)}; expected at least one of {', '.join(wanted)}")
    return present


def lacks_all(files: CaseFiles) -> str | None:
    """Error line for a case without any of its channels; None where it has one."""
    if any(image is not None for image in files.channels.values()):
        return None
    return f"{files.id}: lacks all of {', '.join(files.channels)}; leave the case out by --cases"


def with_channels(case: Case, channels: Sequence[str]) -> Case:
    """Case with the channels of a network, in its order; those that it lacks are None and become zeros."""
    return replace(case, channels={name: case.channels.get(name) for name in channels})
