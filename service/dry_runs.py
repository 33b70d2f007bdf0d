"""A destination that is tried out: everything is made and checked as if it were sent, and nothing is."""

from __future__ import annotations

import json
from io import BytesIO

from pydicom import dcmread

from hl7_fhir import Way, check_bundle, contained_report
from hl7_fhir.v2 import framed, parse_message
from service.book.outbox import DeliveryLease
from service.destinations import Send, Sent
from service.faces import FHIR, FHIR_RETRACTION, ORU, ORU_RETRACTION

WOULD_SEND = "dry run: built and checked, nothing was sent; `raddraft resend` sends it once dry_run is off"


def dry_sender(fhir_version: str, way: Way | None = None) -> Send:
    """Check what would be sent as its own client does before it leaves.

    Parameters
    ----------
    way
        How a FHIR destination's settings have reports written; None to go by the server.

    Raises, when it sends, what the client would: a `Permanent` such as ``fhir-invalid`` or ``hl7-framing``.
    """

    def send(lease: DeliveryLease, content: bytes) -> Sent:
        if lease.kind in (FHIR, FHIR_RETRACTION):
            bundle = json.loads(content)
            check_bundle(bundle, fhir_version)
            if way is Way.REPORT:
                contained_report(bundle)
        elif lease.kind in (ORU, ORU_RETRACTION):
            parse_message(content)
            framed(content)
        elif lease.sop_instance_uid:
            dcmread(BytesIO(content), stop_before_pixels=True)
        return Sent("", WOULD_SEND)

    return send
