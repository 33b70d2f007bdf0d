"""The rules of the send gate are HL7's own: the package data is what its definitions give."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.interop.fhir_engine.definitions import TARGET, extract
from tests.interop.fhir_engine.engine import FhirEngine

pytestmark = pytest.mark.interop


def test_the_shipped_rules_are_what_hl7s_definitions_give(fhir_engine: FhirEngine) -> None:
    assert json.loads(gzip.decompress(TARGET.read_bytes())) == extract()
