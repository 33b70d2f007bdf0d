"""TLS both ways: who has no certificate of the site's authority is not talked to, and renewals need no restart."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from clinical import Permanent, Transient
from dicom_node import Peer, RefusedCall, TlsFiles, echo, send_objects
from tests.authorities import site_authority
from tests.dicom_node.conftest import Node, StartNode
from tests.dicom_node.crafted import as_file, crafted_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Certificates of a site."""
    made = tmp_path / "tls"
    made.mkdir()
    return site_authority(made)


def files(folder: Path) -> TlsFiles:
    return TlsFiles(folder / "server.pem", folder / "server.key", folder / "ca.pem")


def client(folder: Path, *, certificate: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if certificate:
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context


def named(node: Node) -> Peer:
    """The node under the name its certificate has."""
    return Peer("RADDRAFT", "localhost", node.listener.port)


def test_objects_come_over_tls(start_node: StartNode, folder: Path) -> None:
    node = start_node(tls=files(folder))
    assert echo(named(node), calling_ae_title="MODALITY", tls=client(folder)) == 0x0000
    content = as_file(crafted_dataset(pixels=b"\1" * 3_000_000))
    (result,) = send_objects([content], named(node), calling_ae_title="MODALITY", tls=client(folder))
    assert result.status == 0x0000 and node.ledger.receipts() == 1


def test_plain_callers_and_those_without_certificate_are_refused_and_told_of(
    start_node: StartNode, folder: Path
) -> None:
    calls: list[RefusedCall] = []
    node = start_node(tls=files(folder), refused=calls.append)
    with pytest.raises(Transient):
        echo(named(node), calling_ae_title="MODALITY")
    with pytest.raises(Transient):
        echo(named(node), calling_ae_title="MODALITY", tls=client(folder, certificate=False))
    assert {call.refusal.value for call in calls} == {"tls"}
    assert echo(named(node), calling_ae_title="MODALITY", tls=client(folder)) == 0x0000


def test_a_certificate_of_another_authority_is_refused(start_node: StartNode, folder: Path) -> None:
    node = start_node(tls=files(folder))
    other = folder / "other"
    other.mkdir()
    site_authority(other)
    stranger = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    stranger.load_cert_chain(other / "client.pem", other / "client.key")
    with pytest.raises(Transient):
        echo(named(node), calling_ae_title="MODALITY", tls=stranger)


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"), (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA384")],
    ids=["tls-1.1", "cbc"],
)
def test_old_protocols_and_ciphers_are_refused(
    start_node: StartNode, folder: Path, version: ssl.TLSVersion, ciphers: str
) -> None:
    node = start_node(tls=files(folder))
    old = client(folder)
    old.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = version
    with (
        socket.create_connection(("localhost", node.listener.port), timeout=20) as plain,
        pytest.raises(OSError),
    ):
        old.wrap_socket(plain, server_hostname="localhost")


def _served_certificate(node: Node, folder: Path) -> bytes:
    with socket.create_connection(("localhost", node.listener.port), timeout=20) as plain:
        context = client(folder)
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            return secured.getpeercert(binary_form=True) or b""


def test_a_renewed_certificate_is_served_without_restart_and_a_broken_one_is_not(
    start_node: StartNode, folder: Path
) -> None:
    node = start_node(tls=files(folder))
    before = _served_certificate(node, folder)
    (folder / "server.pem").write_text("not a certificate")
    assert _served_certificate(node, folder) == before
    renewed = folder / "renewed"
    renewed.mkdir()
    site_authority(renewed)
    for name in ("server.key", "server.pem", "ca.pem", "client.key", "client.pem"):
        shutil.copy(renewed / name, folder / name)
    assert _served_certificate(node, folder) != before


def test_a_handshake_that_never_comes_ends(start_node: StartNode, folder: Path) -> None:
    node = start_node(tls=files(folder), request_timeout_s=1.0)
    with socket.create_connection(("localhost", node.listener.port), timeout=20) as silent:
        assert silent.recv(1) == b""


def test_unreadable_certificates_are_one_clear_line(start_node: StartNode, folder: Path) -> None:
    (folder / "server.key").write_text("nothing")
    with pytest.raises(Permanent, match="tls-unreadable") as failure:
        start_node(tls=files(folder))
    assert "\n" not in failure.value.message


@pytest.mark.interop
def test_storescu_sends_over_tls(
    program: Callable[[str], Path], start_node: StartNode, folder: Path, tmp_path: Path
) -> None:
    node = start_node(tls=files(folder))
    (tmp_path / "object.dcm").write_bytes(as_file(crafted_dataset()))
    command = [
        str(program("storescu")),
        *("+tls", str(folder / "client.key"), str(folder / "client.pem")),
        *("+cf", str(folder / "ca.pem"), "-aec", "RADDRAFT"),
        *("localhost", str(node.listener.port), str(tmp_path / "object.dcm")),
    ]
    sent = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert sent.returncode == 0, sent.stderr[-500:]
    assert node.ledger.receipts() == 1
