"""The STOW-RS sender: an answer is success, a note, a reason to try again or an end, and never a guess."""

from __future__ import annotations

from typing import Any

import pytest

from clinical import RadDraftError, Transient
from dicom_node import StowClient
from tests.hl7_fhir.scripted_server import Asked, scripted_server

_CONTENT = b"\0" * 128 + b"DICM" + bytes(range(256))


def failed(reason: int) -> dict[str, Any]:
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}


def outcome(status: int, told: Any) -> tuple[str, str]:
    with scripted_server(lambda asked: (status, told)) as server:
        try:
            return "stored", StowClient(server.base_url).store(_CONTENT).note
        except RadDraftError as error:
            return error.kind.value, error.code


@pytest.mark.parametrize(
    ("status", "told", "expected"),
    [
        (200, {"00081199": {"vr": "SQ", "Value": [{}]}}, ("stored", "")),
        (200, None, ("stored", "")),
        (
            202,
            {"00081199": {"vr": "SQ", "Value": [{"00081196": {"vr": "US", "Value": [0xB000]}}]}},
            ("stored", "the archive stored it with warning 0xB000"),
        ),
        (409, failed(0x0111), ("stored", "it was there already")),
        (202, failed(0xA700), ("transient", "stow-failed")),
        (200, failed(0xC000), ("transient", "stow-failed")),
        (409, failed(0x0122), ("permanent", "not-negotiated")),
        (409, failed(0xC122), ("permanent", "not-negotiated")),
        (200, {"00081198": {"vr": "SQ", "Value": [{}]}}, ("transient", "stow-failed")),
        (200, {"00081198": {"vr": "SQ", "Value": ["nonsense"]}}, ("transient", "stow-failed")),
        (200, {"0008119A": {"Value": [{"00081197": {"Value": [0xC000]}}]}}, ("transient", "stow-failed")),
        (409, None, ("transient", "http-409")),
        (401, {}, ("transient", "http-401")),
        (503, {}, ("transient", "http-503")),
        (400, {}, ("permanent", "http-400")),
        (404, {}, ("permanent", "http-404")),
        (302, {}, ("permanent", "http-302")),
    ],
)
def test_an_answer_means_what_the_standard_says(status: int, told: Any, expected: tuple[str, str]) -> None:
    assert outcome(status, told) == expected


def test_the_object_goes_out_byte_for_byte_with_our_credentials() -> None:
    def answer(asked: Asked) -> tuple[int, Any]:
        return 200, {}

    with scripted_server(answer) as server:
        StowClient(server.base_url, authorization="Bearer secret").store(_CONTENT)
        (asked,) = server.asked
    assert asked.path == "/fhir/studies"
    assert asked.headers["authorization"] == "Bearer secret"
    boundary = asked.headers["content-type"].partition("boundary=")[2]
    assert asked.body == (
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        + _CONTENT
        + f"\r\n--{boundary}--\r\n".encode()
    )


def test_an_archive_that_is_away_is_tried_again_and_its_address_is_not_told() -> None:
    with scripted_server(lambda asked: (200, {})) as server:
        gone = server.base_url
    with pytest.raises(Transient) as caught:
        StowClient(gone, timeout_s=2).store(_CONTENT)
    assert caught.value.code == "archive-unreachable"
    assert gone not in str(caught.value)
