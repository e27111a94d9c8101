"""Command of the campaigns: python -m tests.campaigns [NAME] [--only SUBJECT] [--count N] [--seed N] [--minutes M].

Without a name all campaigns run. The exit status is 1 where one of them found a fault.
"""

import argparse
import sys
from importlib import import_module

from common.processes import command_signals
from tests.campaigns.campaign import CAMPAIGNS, Bounds


def main():
    """Run campaigns, and print the faults that they found."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description="Many random cases of a kind of fault.")
    parser.add_argument("name", nargs="?", choices=CAMPAIGNS, help="campaign; default: all of them")
    parser.add_argument("--only", metavar="SUBJECT", help="subject of the campaign; default: all of them")
    parser.add_argument("--count", type=int, help="tries of each subject")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--minutes", type=float, help="after which no further try of a campaign begins")
    given = parser.parse_args()
    found = []
    for name in CAMPAIGNS if given.name is None else [given.name]:
        campaign = import_module(CAMPAIGNS[name])
        if given.only is not None and given.only not in campaign.SUBJECTS:
            parser.error(f"--only: expected one of {', '.join(campaign.SUBJECTS)} of {name}; received {given.only}")
        print(f"{name}:", flush=True)
        with command_signals():  # else SIGTERM would leave processes and disks behind
            faults = campaign.run(Bounds(given.only, given.count, given.seed, given.minutes))
        print(f"{name}: {len(faults)} faults", flush=True)
        found += [f"{name}: {line}" for line in faults]
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
