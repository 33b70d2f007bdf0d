"""Digests of files, each of which says by which algorithm it was made.

Files of our own making are known by their SHA-256, as every other reader can compute it; what is received, by BLAKE3:
its sender waits while it is hashed, and SHA-256 takes four times as long.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Collection
from enum import StrEnum

from blake3 import blake3

from dicom_node.header_walk import Encoded


class DigestAlgorithm(StrEnum):
    """What a digest was made by; both have 256 bits."""

    SHA256 = "sha256"
    BLAKE3 = "blake3"


_BLAKE3_PREFIX = f"{DigestAlgorithm.BLAKE3}:"


class FileHash:
    """The hash of a file's bytes as they come.

    A digest by SHA-256 (FIPS 180-4) is written in hexadecimal, with nothing before it, as it always was; one by BLAKE3
    as ``blake3:`` and base64url without padding (RFC 4648 section 5): 50 characters.
    """

    def __init__(self, algorithm: DigestAlgorithm) -> None:
        self._hash = blake3() if algorithm is DigestAlgorithm.BLAKE3 else hashlib.sha256()
        self._is_named = algorithm is DigestAlgorithm.BLAKE3
        # Called for every piece of every object that is received.
        self.update = self._hash.update

    def digest(self) -> str:
        """Digest of the bytes so far."""
        if self._is_named:
            return _BLAKE3_PREFIX + urlsafe_b64encode(self._hash.digest()).rstrip(b"=").decode("ascii")
        return self._hash.hexdigest()


def algorithm_of(digest: str) -> DigestAlgorithm:
    """What a digest was made by."""
    return DigestAlgorithm.BLAKE3 if digest.startswith(_BLAKE3_PREFIX) else DigestAlgorithm.SHA256


def digest_of(content: Encoded, algorithm: DigestAlgorithm) -> str:
    """Digest of bytes that are there whole."""
    made = FileHash(algorithm)
    made.update(content)
    return made.digest()


def as_known(digest: str, content: Encoded, known: Collection[str]) -> str:
    """The one of `known` that `content` has, by whatever algorithm it was made; else `digest`, which it has too."""
    if digest in known:
        return digest
    for other in {algorithm_of(each) for each in known} - {algorithm_of(digest)}:
        if (found := digest_of(content, other)) in known:
            return found
    return digest
