"""A sender that says whatever it is told to, true or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from dicom_node import Peer
from dicom_node.file_format import encoded_file_meta

EXPLICIT_LE = "1.2.840.10008.1.2.1"


@contextmanager
def associated(
    peer: Peer, contexts: Sequence[tuple[str, Sequence[str]]], *, calling_ae_title: str = "MODALITY"
) -> Iterator[Association]:
    """An association that proposes these (abstract syntax, transfer syntaxes)."""
    ae = AE(ae_title=calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    proposed = [build_context(abstract, list(syntaxes)) for abstract, syntaxes in contexts]
    association = ae.associate(peer.host, peer.port, proposed, ae_title=peer.ae_title)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def store_raw(
    association: Association,
    dataset: bytes,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str = EXPLICIT_LE,
) -> int | None:
    """Send these bytes under these UIDs; the status of the response, None without one."""
    # Sends the file's bytes as they are, under the UIDs of the file meta information.
    _config.STORE_SEND_CHUNKED_DATASET = True
    with TemporaryDirectory() as folder:
        path = Path(folder) / "object"
        meta = encoded_file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
        path.write_bytes(meta + dataset)
        response = association.send_c_store(path)
    return int(response.Status) if "Status" in response else None
