"""The DICOM network: listener, spool and sender."""

from dicom_node.candidates import classify, ignored_sentence
from dicom_node.listener import Listener, ListenerSettings
from dicom_node.received import Ledger, ReceivedObject
from dicom_node.reception import Caller, IncomingObject, Reception
from dicom_node.sender import Peer, SendResult, SendTimeouts, echo, send_objects
from dicom_node.spool import PosixSpool, Spool, SpoolEntry

__all__ = [
    "Caller",
    "IncomingObject",
    "Ledger",
    "Listener",
    "ListenerSettings",
    "Peer",
    "PosixSpool",
    "ReceivedObject",
    "Reception",
    "SendResult",
    "SendTimeouts",
    "Spool",
    "SpoolEntry",
    "classify",
    "echo",
    "ignored_sentence",
    "send_objects",
]
