"""HL7's FHIR 4.0.1 definitions of what is sent; see SOURCE.md."""
