"""A hospital's own certificate authority, with a server and a client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(name: str, key: Any, issuer: str, signer: Any, authority: bool) -> bytes:
    def named(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    made = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, authority, authority, False, False), critical=True
        )
    )
    return made.sign(signer, hashes.SHA384()).public_bytes(Encoding.PEM)


def site_authority(folder: Path) -> Path:
    """Write ``ca.pem`` and key and certificate of ``server`` (localhost) and ``client``; the folder."""
    authority = ec.generate_private_key(ec.SECP384R1())
    (folder / "ca.pem").write_bytes(certificate("site", authority, "site", authority, True))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP384R1())
        (folder / f"{name}.key").write_bytes(pem(key))
        (folder / f"{name}.pem").write_bytes(certificate(name, key, "site", authority, False))
    return folder
