"""`make rehearsal`: a hospital plays its day around a whole service while things go wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.promises.rehearsal.faults import FAULTS
from tests.promises.rehearsal.pacs_faults import find_orthanc, play_ill_pacs
from tests.promises.rehearsal.plan import write_plan
from tests.promises.rehearsal.play import Play


def main() -> int:
    """Play and print the report; 0 only if no promise was broken."""
    parser = argparse.ArgumentParser(prog="make rehearsal", description=__doc__)
    parser.add_argument("--studies", type=int, default=1000, help="studies sent (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the plan")
    parser.add_argument("--size-px", type=int, default=256, help="longer side of an image (default 256)")
    parser.add_argument("--timeout-s", type=float, default=14_400, help="longest time to wait (default 4 h)")
    parser.add_argument("--no-faults", action="store_true", help="nothing goes wrong")
    parser.add_argument(
        "--ill-pacs-s",
        type=float,
        help="instead: a PACS (Orthanc) that is ill for so many seconds, in five ways in turn; 600 for the whole",
    )
    arguments = parser.parse_args()
    if arguments.studies < 1:
        parser.error("--studies is at least 1")
    if arguments.ill_pacs_s is not None:
        return _ill_pacs(parser, arguments.ill_pacs_s)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        folder = Path(name)
        say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
        say(f"writing {arguments.studies} studies")
        plan = write_plan(
            folder / "modality", arguments.studies, seed=arguments.seed, size_px=arguments.size_px
        )
        faults = () if arguments.no_faults else FAULTS
        verdict = Play(plan, faults, timeout_s=arguments.timeout_s, say=say).run(folder)
    print(verdict.page())
    return 1 if verdict.broken else 0


def _ill_pacs(parser: argparse.ArgumentParser, ill_s: float) -> int:
    orthanc = find_orthanc()
    if orthanc is None:
        parser.error("--ill-pacs-s needs Orthanc (Debian: apt-get install orthanc)")
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        day = play_ill_pacs(orthanc, Path(name), ill_s, lambda text: print(text, file=sys.stderr, flush=True))
    print(day.page())
    return 1 if day.broken else 0


if __name__ == "__main__":
    sys.exit(main())
