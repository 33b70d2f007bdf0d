"""``make conformance``: every reader over every kind of result; writes docs/conformance-evidence.md."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from inference import load_model
from tests.conformance.registry import LONGEST, READERS, Reader
from tests.conformance.studies import Study, phantom_studies, real_studies
from tests.conformance.table import Verdict, as_markdown

_ROOT = Path(__file__).resolve().parents[2]
_DOCUMENT = _ROOT / "docs" / "conformance-evidence.md"


def _program(name: str) -> Path:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise SystemExit(f"conformance: {name} is not installed; .ci/run lists the packages of every reader")
    return Path(found)


def _real_files() -> list[Path]:
    stated = os.environ.get("RADDRAFT_TEST_DATA")
    folder = (Path(stated) if stated else _ROOT.parent / "shared" / "data") / "cxr"
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _verdicts(reader: Reader, studies: Sequence[Study]) -> list[Verdict]:
    started = time.monotonic()
    said = list(reader(_program, studies))
    print(f"{reader.__name__}: {len(said)} verdicts in {time.monotonic() - started:.0f} s", flush=True)
    return said


def main() -> int:
    """Write the table; 1 where a reader objects to something."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument(
        "--out", type=Path, help="the document to write; default: docs/conformance-evidence.md"
    )
    parser.add_argument(
        "--phantoms",
        action="store_true",
        help="phantoms of every kind of result alone; writes no document but --out",
    )
    asked = parser.parse_args()
    out = asked.out or (None if asked.phantoms else _DOCUMENT)
    # Sources are as they come; what pydicom thinks of their values is no reader's verdict, and quotes them.
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as folder:
        model = load_model()
        try:
            studies = list(phantom_studies(model, Path(folder)))
            if not asked.phantoms:
                studies += real_studies(model, _real_files(), Path(folder))
        finally:
            model.close()
        # Readers are processes of their own: two of them keep two cores busy, the longest from the start.
        order = sorted(READERS, key=lambda reader: reader not in LONGEST)
        with ThreadPoolExecutor(2) as pool:
            read = {reader: pool.submit(_verdicts, reader, studies) for reader in order}
        verdicts = [verdict for reader in READERS for verdict in read[reader].result()]
    if out is not None:
        columns = list(dict.fromkeys(study.kind for study in studies))
        out.write_text(as_markdown(verdicts, columns), encoding="utf-8")
    failed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in failed:
        print(f"{verdict.reader} ({verdict.checks}), {verdict.face} of {verdict.study}: {verdict.problem}")
    print(f"{len(verdicts)} verdicts, {len(failed)} objections{f': {out}' if out else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
