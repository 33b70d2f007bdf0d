"""The rules of the send gate are HL7's own: the package data is what its definitions give."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clinical import DraftOutcome
from hl7_fhir import build_bundle, client_statement
from hl7_fhir.rules import Rules
from raddraft import __version__
from tests.hl7_fhir.drafts import HEADER, PROFILE, draft, resources
from tests.interop.fhir_engine.definitions import R4, RELEASES, Release, extract
from tests.interop.fhir_engine.engine import FhirEngine, r5_issues

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.target.stem)
def test_the_shipped_rules_are_what_hl7s_definitions_give(fhir_engine: FhirEngine, release: Release) -> None:
    assert json.loads(gzip.decompress(release.target.read_bytes())) == extract(release)


def test_the_statement_of_our_client_keeps_hl7s_rules(fhir_engine: FhirEngine) -> None:
    known = extract(replace(R4, sent=("CapabilityStatement",)))
    rules = Rules("r4", known["schema"], known["rules"], known["targets"])
    statement = client_statement(__version__)
    assert list(rules.violations(statement, lambda _: None)) == []
    (rest,) = statement["rest"]
    for broken in ({"kind": "client"}, {"kind": "requirements"}, {"rest": [{**rest, "mode": "sender"}]}):
        assert list(rules.violations({**statement, **broken}, lambda _: None)) != []


def test_another_makers_validator_takes_what_is_sent_as_r5_and_refuses_what_breaks_it(
    fhir_engine: FhirEngine, program: Callable[[str], Path]
) -> None:
    profile = replace(PROFILE, fhir_version="5.0")
    good = [build_bundle(draft(outcome), HEADER, profile, (), report_text="text") for outcome in DraftOutcome]
    bad = copy.deepcopy(good[0])
    resources(bad, "Observation")[0]["dataAbsentReason"] = {"text": "none"}
    resources(bad, "ImagingSelection")[0]["instance"][0]["imageRegion2D"][0].pop("regionType")
    *taken, refused = r5_issues(program("node"), [*good, bad])
    assert taken == [[]] * len(good)
    assert {issue.partition(" at ")[2].partition("[")[0] for issue in refused} >= {
        "Observation",
        "ImagingSelection.instance",
    }
