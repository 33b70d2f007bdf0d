"""The DICOM network: listener, spool and sender."""

from dicom_node.admission import Refusal, RefusedCall
from dicom_node.arriving_file import ArrivingFile
from dicom_node.candidates import classify, ignored_sentence
from dicom_node.digests import DigestAlgorithm
from dicom_node.listener import Listener, ListenerSettings
from dicom_node.peers import AllowedPeer
from dicom_node.received import KnownObject, Ledger, ReceivedObject
from dicom_node.reception import AnnouncedObject, ArrivingObject, Caller, IncomingObject, Reception
from dicom_node.sender import Peer, SendResult, SendTimeouts, echo, send_objects
from dicom_node.shared_limits import PeerLimits
from dicom_node.spool import PosixSpool, Spool, SpoolWriter
from dicom_node.spool_writer import SpoolEntry
from dicom_node.stow import StowClient, StowResult
from dicom_node.tls import ServerTls, TlsFiles

__all__ = [
    "AllowedPeer",
    "AnnouncedObject",
    "ArrivingFile",
    "ArrivingObject",
    "Caller",
    "DigestAlgorithm",
    "IncomingObject",
    "KnownObject",
    "Ledger",
    "Listener",
    "ListenerSettings",
    "Peer",
    "PeerLimits",
    "PosixSpool",
    "ReceivedObject",
    "Reception",
    "Refusal",
    "RefusedCall",
    "SendResult",
    "SendTimeouts",
    "ServerTls",
    "Spool",
    "SpoolEntry",
    "SpoolWriter",
    "StowClient",
    "StowResult",
    "TlsFiles",
    "classify",
    "echo",
    "ignored_sentence",
    "send_objects",
]
