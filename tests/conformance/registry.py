"""Every reader of the evidence table: a callable of (find a program, studies) that yields verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.conformance.archive import archived
from tests.conformance.ehr import fhir_schema, fhirpath, hl7_parser, hl7_server, medplum, medplum_r5
from tests.conformance.programs import (
    dcentvfy,
    dciodvfy,
    dcmp2pgm,
    dcmpschk,
    dsrdump,
    pixelmed,
    plain_viewer,
    poppler,
)
from tests.conformance.studies import Study
from tests.conformance.table import Verdict

Reader = Callable[[Callable[[str], Path], Sequence[Study]], Iterator[Verdict]]
READERS: tuple[Reader, ...] = (
    archived,
    dciodvfy,
    dcentvfy,
    dsrdump,
    pixelmed,
    dcmpschk,
    dcmp2pgm,
    plain_viewer,
    poppler,
    medplum,
    medplum_r5,
    fhir_schema,
    fhirpath,
    hl7_server,
    hl7_parser,
)
# Those that take a minute or more; every other one takes seconds.
LONGEST = (archived, pixelmed)
