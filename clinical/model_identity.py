"""Which model said it: the identity every face of a result carries."""

from __future__ import annotations

from dataclasses import dataclass

from clinical.identity import derived_uid


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Everything that tells one model's results from another's.

    Attributes
    ----------
    name, version, family
        E.g. ``"RadDraft phantom model"``, ``"1"``, ``"llava_onevision"``.
    weights_sha256
        SHA-256 over the package's weight files, hexadecimal.
    prompts_sha256
        SHA-256 over the questions the reading plan asks.
    engine
        Runtime, its version and execution provider, e.g. ``"onnxruntime 1.32.0 CPUExecutionProvider"``.
    precision
        ``fp32``, ``fp16``, ``bf16``, ``int8`` or ``int4``.
    statement
        What the model must say of itself on every face, e.g. that it is not for clinical use; may be empty.
    calibration_sha256
        SHA-256 of the file its scores were calibrated by; empty where none was.
    """

    name: str
    version: str
    family: str
    weights_sha256: str
    prompts_sha256: str
    engine: str
    precision: str
    statement: str = ""
    calibration_sha256: str = ""

    @property
    def device_uid(self) -> str:
        """Device UID (0018,1002): changes whenever name, version, weights or prompts change (IHE AIR 6.5.3.1)."""
        return derived_uid("device", self.name, self.version, self.weights_sha256, self.prompts_sha256)
