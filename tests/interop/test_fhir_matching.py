"""Patient and order are found in another maker's engine, and what is not certain is not written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clinical import Permanent, Quarantine, Transient
from hl7_fhir import Demographics, FhirClient, Wanted, build_bundle, retraction_of
from tests.hl7_fhir.drafts import HEADER, NOW, PROFILE, draft
from tests.interop.fhir_engine.engine import Store

pytestmark = pytest.mark.interop

IMAGE = Demographics("1970-01-31", "F", ("Doe",))
KINDS = ("Device", "ImagingStudy", "Observation", "DiagnosticReport", "Provenance")


def add(store: Store, resource: dict[str, Any]) -> dict[str, Any]:
    answer = store.post(resource, f"/{resource['resourceType']}")
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def patient(store: Store, value: str = "P1", **more: Any) -> dict[str, Any]:
    identifier = [{"system": PROFILE.default_patient_system, "value": value}]
    known = {"birthDate": "1970-01-31", "gender": "female", "name": [{"family": "Doe"}]}
    return add(store, {"resourceType": "Patient", "identifier": identifier, **known, **more})


def order(store: Store, subject: dict[str, Any], **more: Any) -> dict[str, Any]:
    return add(
        store,
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "identifier": [{"system": PROFILE.accession_system, "value": "A1"}],
            "subject": {"reference": f"Patient/{subject['id']}"},
            **more,
        },
    )


def post(store: Store, wanted: Wanted | None = None, version: int = 1) -> None:
    bundle = build_bundle(draft(version=version), HEADER, PROFILE, (), report_text="text")
    FhirClient(store.base_url, matching=True).post(bundle, wanted or Wanted(IMAGE))


def report(store: Store) -> dict[str, Any]:
    (found,) = store.search("DiagnosticReport")
    return found


def test_the_report_names_the_found_patient_order_and_encounter(far_store: Store) -> None:
    known = patient(far_store)
    patient(far_store, "P2")
    encounter = add(
        far_store,
        {"resourceType": "Encounter", "status": "in-progress", "class": {"code": "IMP", "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"}},
    )  # fmt: skip
    asked = order(far_store, known, encounter={"reference": f"Encounter/{encounter['id']}"})
    post(far_store)
    for resource in [report(far_store), *far_store.search("Observation"), *far_store.search("ImagingStudy")]:
        assert resource["subject"]["reference"] == f"Patient/{known['id']}"
        assert resource["basedOn"][0]["reference"] == f"ServiceRequest/{asked['id']}"
        assert resource["encounter"]["reference"] == f"Encounter/{encounter['id']}"
    assert not far_store.warnings()


def test_an_order_the_ehr_does_not_know_stays_named_by_its_number(far_store: Store) -> None:
    patient(far_store)
    post(far_store)
    (based_on,) = report(far_store)["basedOn"]
    assert "reference" not in based_on and based_on["identifier"]["value"] == "A1"


def test_nobody_found_is_looked_for_again_and_nobody_is_created(far_store: Store) -> None:
    patient(far_store, "P2")
    with pytest.raises(Transient, match="patient-not-found"):
        post(far_store)
    assert far_store.counts("Patient", *KINDS) == {"Patient": 1, **dict.fromkeys(KINDS, 0)}
    # The registration arrives later than the image.
    known = patient(far_store)
    post(far_store)
    assert report(far_store)["subject"]["reference"] == f"Patient/{known['id']}"


def other(store: Store) -> dict[str, Any]:
    return patient(store, "P2")


Setting = Callable[[Store], object]


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        (lambda s: [patient(s), patient(s)], "several-patients"),
        (lambda s: patient(s, active=False), "patient-inactive"),
        (lambda s: patient(s, birthDate="1980-01-31"), "patient-mismatch"),
        (lambda s: patient(s, gender="male"), "patient-mismatch"),
        (lambda s: patient(s, name=[{"family": "Roe"}]), "patient-mismatch"),
        (lambda s: [patient(s), order(s, other(s))], "order-mismatch"),
        (lambda s: [order(s, patient(s)), order(s, other(s))], "several-orders"),
        (
            lambda s: patient(s, link=[{"type": "replaced-by", "other": {"reference": "Patient/gone"}}]),
            "patient-inactive",
        ),
    ],
)
def test_what_is_not_certain_is_held_and_nothing_is_written(
    far_store: Store, setting: Setting, code: str
) -> None:
    setting(far_store)
    with pytest.raises(Quarantine) as caught:
        post(far_store)
    assert caught.value.code == code
    assert far_store.counts(*KINDS) == dict.fromkeys(KINDS, 0)
    assert "Doe" not in str(caught.value) and "1970" not in str(caught.value)


def test_a_merged_record_is_followed_to_the_one_that_replaced_it(far_store: Store) -> None:
    survivor = patient(far_store)
    old = patient(
        far_store,
        active=False,
        link=[{"type": "replaced-by", "other": {"reference": f"Patient/{survivor['id']}"}}],
    )
    order(far_store, old)
    post(far_store)
    assert report(far_store)["subject"]["reference"] == f"Patient/{survivor['id']}"


def test_a_person_may_choose_and_only_whom_the_ehr_knows(far_store: Store) -> None:
    patient(far_store)
    second = patient(far_store, birthDate="1980-01-31")
    post(far_store, Wanted(chosen=f"Patient/{second['id']}"))
    assert report(far_store)["subject"]["reference"] == f"Patient/{second['id']}"
    with pytest.raises(Quarantine, match="patient-inactive"):
        post(far_store, Wanted(chosen="Patient/nobody"), version=2)


def test_a_retraction_does_not_wait_for_a_patient(far_store: Store) -> None:
    known = patient(far_store)
    post(far_store)
    far_store.put({**known, "active": False}).raise_for_status()
    sent = build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
    FhirClient(far_store.base_url, matching=True).post(retraction_of(sent, NOW, "wrong"))
    assert report(far_store)["status"] == "entered-in-error"


def test_single_writes_and_documents_are_matched_too(far_store: Store) -> None:
    known = patient(far_store)
    written_types = (["Observation", "DiagnosticReport"], ["DocumentReference"])
    for types in (["Patient", "ServiceRequest", *those] for those in written_types):
        far_store.limit(transaction=False, types=types)
        post(far_store)
        (written,) = far_store.search(types[-1])
        assert written["subject"]["reference"] == f"Patient/{known['id']}"


def test_a_server_without_a_search_of_patients_is_said_so(far_store: Store) -> None:
    far_store.limit(types=list(KINDS))
    with pytest.raises(Permanent, match="no-patient-search"):
        post(far_store)
