"""Reading back by QIDO-RS: held, not held, cannot be asked and does not answer are four different things."""

from __future__ import annotations

from typing import Any

import pytest

from clinical import Permanent, RadDraftError
from dicom_node.commitment import Reference
from dicom_node.qido import read_back_by_qido
from tests.hl7_fhir.scripted_server import Asked, scripted_server

_CR = "1.2.840.10008.5.1.4.1.1.1"
_HELD = (Reference(_CR, "1.2.3"), "1.2", "1.2.1")


def match(uid: str) -> dict[str, Any]:
    return {"00080018": {"vr": "UI", "Value": [uid]}}


@pytest.mark.parametrize(
    ("status", "told", "expected"),
    [
        (200, [match("1.2.3")], {"1.2.3"}),
        (200, [match("1.2.4"), match("1.2.3")], {"1.2.3"}),
        (200, [match("1.2.4")], set()),
        (200, [], set()),
        (200, [{}, {"00080018": {}}, {"00080018": {"Value": []}}, "nonsense", None], set()),
        (204, None, set()),
        (503, [], "http-503"),
        (401, [], "http-401"),
        (200, {"not": "a list"}, "qido-failed"),
    ],
)
def test_an_answer_to_the_search_means_what_the_standard_says(status: int, told: Any, expected: Any) -> None:
    with scripted_server(lambda asked: (status, told)) as server:
        if isinstance(expected, str):
            with pytest.raises(RadDraftError) as caught:
                read_back_by_qido(server.base_url, [_HELD])
            assert (caught.value.code, caught.value.kind.value) == (expected, "transient")
        else:
            assert read_back_by_qido(server.base_url, [_HELD]) == expected


def test_an_archive_that_answers_an_unknown_study_with_404_has_lost_it_and_one_without_searches_says_nothing() -> (
    None
):
    def only_studies(asked: Asked) -> tuple[int, Any]:
        return (200, []) if asked.path.startswith("/fhir/studies?") else (404, {})

    with scripted_server(only_studies) as server:
        assert read_back_by_qido(server.base_url, [_HELD]) == frozenset()
    with scripted_server(lambda asked: (404, {})) as server, pytest.raises(Permanent) as caught:
        read_back_by_qido(server.base_url, [_HELD])
    assert caught.value.code == "no-query"


def test_each_object_is_searched_for_in_its_series_with_our_credentials() -> None:
    with scripted_server(lambda asked: (200, [])) as server:
        read_back_by_qido(f"{server.base_url}/", [_HELD], authorization="Bearer secret")
        (asked,) = server.asked
    assert (asked.method, asked.path) == (
        "GET",
        "/fhir/studies/1.2/series/1.2.1/instances?SOPInstanceUID=1.2.3",
    )
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.headers["accept"] == "application/dicom+json"


def test_an_archive_that_is_away_is_asked_again_and_its_address_is_not_told() -> None:
    with scripted_server(lambda asked: (200, [])) as server:
        gone = server.base_url
    with pytest.raises(RadDraftError) as caught:
        read_back_by_qido(gone, [_HELD], timeout_s=2)
    assert (caught.value.code, caught.value.kind.value) == ("archive-unreachable", "transient")
    assert gone not in str(caught.value)
