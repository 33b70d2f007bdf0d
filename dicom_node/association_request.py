"""Reading an A-ASSOCIATE-RQ and answering it with an A-ASSOCIATE-AC (PS3.8 section 9.3.2 and 9.3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from dicom_node.file_format import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.messages import MalformedMessage
from dicom_node.negotiation import supported_contexts
from dicom_node.pdu_stream import PduType, encoded_pdu

# A request with every storage class in four transfer syntaxes has some 20 KB.
_REMEMBERED_BYTES_MAX = 1 << 15
_REMEMBERED_REQUESTS = 32
_APPLICATION_CONTEXT_NAME = UID("1.2.840.10008.3.1.1.1")


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """What one presentation context ID stands for in an association.

    Attributes
    ----------
    we_are_scu, we_are_scp
        Our roles in it (PS3.7 section D.3.3.4).
    """

    abstract_syntax_uid: str
    transfer_syntax_uid: str
    we_are_scu: bool
    we_are_scp: bool


class AssociationRequest:
    """A decoded A-ASSOCIATE-RQ.

    Parameters
    ----------
    content
        The PDU without its header.

    Raises
    ------
    MalformedMessage
        If it cannot be decoded.
    """

    def __init__(self, content: bytes) -> None:
        pdu = A_ASSOCIATE_RQ()
        try:
            pdu.decode(encoded_pdu(PduType.A_ASSOCIATE_RQ, content))
            self._primitive = pdu.to_primitive()
            self.calling_ae_title = str(self._primitive.calling_ae_title).strip()
            self.called_ae_title = str(self._primitive.called_ae_title).strip()
            self._contexts: list[PresentationContext] = self._primitive.presentation_context_definition_list
            self.pdu_bytes_max = int(self._primitive.maximum_length_received or 0)
        except Exception as error:
            # The library's decoder meets what strangers send: it raises whatever its code runs into.
            raise MalformedMessage("the association request cannot be decoded") from error

        self._answers: dict[tuple[int, frozenset[str]], tuple[bytes, Mapping[int, AcceptedContext]]] = {}

    def accepted(
        self, *, pdu_bytes_max: int, notices: frozenset[str] = frozenset()
    ) -> tuple[bytes, Mapping[int, AcceptedContext]]:
        """The encoded A-ASSOCIATE-AC, and the contexts it accepts by their IDs.

        Parameters
        ----------
        notices
            SOP classes by which this caller may tell of a study's images.

        Raises
        ------
        MalformedMessage
            If what is asked for makes no sense.
        """
        key = pdu_bytes_max, notices
        if key not in self._answers:
            self._answers[key] = self._answer(*key)
        return self._answers[key]

    def _answer(
        self, pdu_bytes_max: int, notices: frozenset[str]
    ) -> tuple[bytes, Mapping[int, AcceptedContext]]:
        try:
            results, roles = negotiate_as_acceptor(
                self._contexts, supported_contexts(self._contexts, notices), self._asked_roles()
            )
            answer = A_ASSOCIATE()
            answer.application_context_name = _APPLICATION_CONTEXT_NAME
            answer.calling_ae_title = self._primitive.calling_ae_title
            answer.called_ae_title = self._primitive.called_ae_title
            answer.result, answer.result_source = 0x00, 0x01
            answer.presentation_context_definition_results_list = results
            answer.user_information = [*_our_user_information(pdu_bytes_max), *roles]
            encoded = A_ASSOCIATE_AC(answer).encode()
        except Exception as error:
            raise MalformedMessage("the association request cannot be answered") from error
        accepted = {
            int(context.context_id or 0): AcceptedContext(
                str(context.abstract_syntax),
                str(context.transfer_syntax[0]),
                bool(context.as_scu),
                bool(context.as_scp),
            )
            for context in results
            if context.result == 0x00
        }
        return encoded, MappingProxyType(accepted)

    def _asked_roles(self) -> Any:
        return {
            item.sop_class_uid: (item.scu_role, item.scp_role)
            for item in self._primitive.user_information
            if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
        }


def read_request(content: bytes) -> AssociationRequest:
    """The request that a PDU without its header is.

    A modality asks for the same in every association, and a hundred contexts take the library as long as several
    objects take the listener: what was asked lately is remembered with its answer.

    Raises
    ------
    MalformedMessage
        If it cannot be decoded.
    """
    return _remembered(content) if len(content) <= _REMEMBERED_BYTES_MAX else AssociationRequest(content)


_remembered = lru_cache(maxsize=_REMEMBERED_REQUESTS)(AssociationRequest)


def _our_user_information(pdu_bytes_max: int) -> list[Any]:
    longest = MaximumLengthNotification()
    longest.maximum_length_received = pdu_bytes_max
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return [longest, implementation, version]
