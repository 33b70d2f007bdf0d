"""What a digest says of itself, and that it is the published algorithms'."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.digests import DigestAlgorithm, FileHash, algorithm_of, as_known, digest_of

_BLAKE3, _SHA256 = DigestAlgorithm.BLAKE3, DigestAlgorithm.SHA256


@pytest.mark.parametrize(
    ("content", "published"),
    [
        (b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        # Test vectors of the algorithm's authors: bytes 0 to 250 over and over.
        (
            bytes(n % 251 for n in range(1025)),
            "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
        ),
    ],
)
def test_blake3_is_the_published_one_and_fits_the_book(content: bytes, published: str) -> None:
    digest = digest_of(content, _BLAKE3)
    name, _, value = digest.partition(":")
    assert (name, urlsafe_b64decode(value + "=").hex()) == ("blake3", published)
    assert len(digest) <= 64 and "/" not in digest


@given(st.lists(st.binary(max_size=4096), max_size=8), st.sampled_from(DigestAlgorithm))
def test_pieces_have_the_digest_of_the_whole(pieces: list[bytes], algorithm: DigestAlgorithm) -> None:
    made = FileHash(algorithm)
    for piece in pieces:
        made.update(memoryview(piece))
    assert made.digest() == digest_of(b"".join(pieces), algorithm)
    assert algorithm_of(made.digest()) is algorithm


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_bytes_are_known_by_whichever_digest_they_have(content: bytes, other: bytes) -> None:
    own, older = digest_of(content, _BLAKE3), hashlib.sha256(content).hexdigest()
    strange = [digest_of(other, each) for each in DigestAlgorithm]
    assert as_known(own, content, []) == own
    assert as_known(own, content, [own, older]) == own
    assert as_known(own, content, [digest_of(content + b"x", _SHA256), older]) == older
    assert as_known(own, content, strange) == own
    assert as_known(older, content, [own]) == own
