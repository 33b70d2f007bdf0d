"""Our own keys for SMART Backend Services: one signs, all are published, so a key can be changed without a gap."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from clinical import Permanent

Json = dict[str, Any]

_SHORTEST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that signs assertions.

    Attributes
    ----------
    algorithm
        ``RS384`` for RSA of at least 2048 bits, ``ES384`` for the curve P-384 (SMART App Launch 2.2, client assertion).
    key_id
        RFC 7638 thumbprint: the same key has the same name everywhere.
    """

    algorithm: str
    key_id: str
    private_key: RSAPrivateKey | EllipticCurvePrivateKey = field(repr=False)

    def public_jwk(self) -> Json:
        """The public half as a JSON Web Key."""
        return {
            **_public(self.private_key),
            "kid": self.key_id,
            "alg": self.algorithm,
            "use": "sig",
            "key_ops": ["verify"],
        }


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one client.

    Attributes
    ----------
    keys
        The first signs; the others are published beside it: the next one, or the one before.
    """

    keys: tuple[SigningKey, ...]

    @property
    def signing(self) -> SigningKey:
        """The key that signs now."""
        return self.keys[0]

    def jwks(self) -> Json:
        """The JSON Web Key Set to publish or to register at the EHR; holds no private part."""
        return {"keys": [key.public_jwk() for key in self.keys]}


def load_key_ring(paths: Sequence[Path]) -> KeyRing:
    """Read private keys from PEM files without a passphrase.

    Raises
    ------
    Permanent
        ``key-unreadable`` or ``key-unsuitable``, naming the file by its position.
    """
    return KeyRing(tuple(_load(path, number) for number, path in enumerate(paths, start=1)))


def _load(path: Path, number: int) -> SigningKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Permanent(
            "key-unreadable",
            f"key {number} cannot be read as a PEM private key without passphrase ({type(error).__name__})",
        ) from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= _SHORTEST_RSA_BITS:
        return SigningKey("RS384", _thumbprint(key), key)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP384R1):
        return SigningKey("ES384", _thumbprint(key), key)
    raise Permanent(
        "key-unsuitable", f"key {number} is neither RSA of 2048 bits or more nor on the curve P-384"
    )


def _public(key: RSAPrivateKey | EllipticCurvePrivateKey) -> Json:
    if isinstance(key, RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {name: jwk[name] for name in ("e", "kty", "n")}
    jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: jwk[name] for name in ("crv", "kty", "x", "y")}


def _thumbprint(key: RSAPrivateKey | EllipticCurvePrivateKey) -> str:
    # RFC 7638 section 3: the required members in lexical order, without white space.
    text = json.dumps(_public(key), sort_keys=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
