"""`make demo`: the whole service with embedded defaults between a PACS and an EHR."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from clinical import RadDraftError
from service.cli.demo.program import Demonstration


def main() -> int:
    """Run the demonstration; 0 only if every study was analysed and came back whole."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="where everything is written")
    parser.add_argument("--studies", type=Path, help="DICOM files to send instead of the built-in phantoms")
    parser.add_argument("--count", type=int, default=6, help="number of phantoms (default 6)")
    parser.add_argument("--seed", type=int, default=7_000_000, help="seed of the first phantom")
    parser.add_argument("--timeout-s", type=float, default=600.0, help="longest time to wait for the results")
    parser.add_argument(
        "--allow-not-assessed",
        action="store_true",
        help="studies that are not assessed, or whose report is held for a person, are no failure",
    )
    arguments = parser.parse_args()
    errors = Console(stderr=True)
    try:
        whole = Demonstration(arguments.out, errors).run(
            studies=arguments.studies,
            count=arguments.count,
            seed=arguments.seed,
            timeout_s=arguments.timeout_s,
            allow_not_assessed=arguments.allow_not_assessed,
        )
    except RadDraftError as error:
        errors.print(f"demo: {error}", style="red", markup=False)
        return 1
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
