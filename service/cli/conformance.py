"""`raddraft conformance`: what is spoken, as the standards want it said, made from the code's own tables."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from service.cli.common import print_json


class Standard(StrEnum):
    """Whose statement is printed."""

    DICOM = "dicom"
    FHIR = "fhir"
    HL7V2 = "hl7v2"


def conformance(
    standard: Annotated[Standard, typer.Argument(help="Whose statement.", show_choices=True)],
) -> None:
    """Print a conformance statement: DICOM (PS3.2), FHIR (CapabilityStatement of a client) or HL7 v2.

    They are what docs/ holds: conformance-statement.md, fhir-client-capability.json, hl7v2-conformance.md.
    """
    if standard is Standard.FHIR:
        from hl7_fhir import client_statement
        from raddraft import __version__

        print_json(client_statement(__version__))
        return
    if standard is Standard.HL7V2:
        from service.hl7_conformance import hl7_statement

        typer.echo(hl7_statement(), nl=False)
        return
    from service.conformance import conformance_statement

    typer.echo(conformance_statement(), nl=False)


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(conformance)
