"""What each answer means, and that nobody is told more than they should be."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from clinical import Permanent, RadDraftError, Transient
from hl7_fhir import BearerToken, FhirClient, Way, build_bundle
from hl7_fhir.answers import RETRIED, failure_of, retry_after_s
from tests.hl7_fhir.drafts import HEADER, NOW, PROFILE, draft
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server

EMPTY: dict[str, Any] = {"resourceType": "Bundle", "entry": []}
SECRET = "Doe^Jane"


def post(base_url: str, **more: Any) -> None:
    FhirClient(base_url, **more).post(build_bundle(draft(), HEADER, PROFILE, (), report_text="text"))


def failure(status: int, body: Any) -> RadDraftError:
    def answer(asked: Asked) -> Answer:
        return (200, EMPTY) if asked.method == "GET" else (status, body)

    with scripted_server(answer) as server, pytest.raises(RadDraftError) as caught:
        post(server.base_url)
    return caught.value


@pytest.mark.parametrize("status", [*sorted(RETRIED), 301, 418, 599])
def test_the_status_decides_whether_it_is_tried_again(status: int) -> None:
    echo = {"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "diagnostics": SECRET}]}
    error = failure(status, echo)
    again = RETRIED.get(status, status >= 500)
    assert isinstance(error, Transient if again else Permanent)
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Fri, 02 Jan 2026 03:06:05 GMT", 120.0),
        ("Friday, 02-Jan-26 03:06:05 GMT", 120.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_when_a_server_wants_to_be_asked_again_is_read_in_both_forms(said: str, wait_s: float | None) -> None:
    answer = httpx.Response(503, headers=[(b"Retry-After", said.encode())])
    assert retry_after_s(answer, NOW) == wait_s
    error = failure_of(answer)
    assert isinstance(error, Transient)
    assert (error.retry_after_s is None) is (wait_s is None)


def test_a_412_for_several_matches_is_for_a_person() -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "multiple-matches"}]}
    error = failure(412, outcome)
    assert isinstance(error, Permanent)
    assert error.code == "several-matches"


@pytest.mark.parametrize(
    ("status", "kind"), [("412", Transient), ("422 Unprocessable", Permanent), ("503", Transient)]
)
def test_a_refused_entry_inside_a_successful_answer_is_a_failure(status: str, kind: type[Exception]) -> None:
    answer = {"resourceType": "Bundle", "entry": [{"response": {"status": status}}]}
    assert isinstance(failure(200, answer), kind)


def test_what_is_no_json_is_tried_again_with_a_hint() -> None:
    with (
        scripted_server(lambda asked: (200, ["a login page"])) as server,
        pytest.raises(Transient, match="base_url"),
    ):
        post(server.base_url)


def test_a_server_that_is_away_is_tried_again() -> None:
    with scripted_server(lambda asked: (200, EMPTY)) as server:
        gone = server.base_url
    with pytest.raises(Transient, match="ehr-unreachable"):
        post(gone)


def test_the_token_goes_with_every_request_and_into_no_message() -> None:
    with scripted_server(lambda asked: (200, EMPTY)) as server:
        post(server.base_url, access=BearerToken("s3cret"))
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer s3cret"}
    assert "s3cret" not in repr(BearerToken("s3cret"))


def test_the_capabilities_are_asked_for_once() -> None:
    with scripted_server(lambda asked: (200, EMPTY)) as server:
        client = FhirClient(server.base_url)
        for _ in range(3):
            client.post(build_bundle(draft(), HEADER, PROFILE, (), report_text="text"))
    assert sum(asked.path == "/fhir/metadata" for asked in server.asked) == 1
    assert sum(asked.method == "POST" for asked in server.asked) == 3


def test_a_server_that_hides_its_capabilities_gets_a_transaction() -> None:
    def answer(asked: Asked) -> Answer:
        return (403, {}) if asked.path.endswith("metadata") else (200, EMPTY)

    with scripted_server(answer) as server:
        client = FhirClient(server.base_url)
        result = client.post(build_bundle(draft(), HEADER, PROFILE, (), report_text="text"))
    assert result.way is Way.TRANSACTION
