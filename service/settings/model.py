"""The model, its engine, and the process that decodes what it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator

from service.settings.basics import Masked, Section, is_loopback


class ModelSection(Section):
    """The model and its engine."""

    path: str = Field(
        "embedded",
        description="'embedded', a folder written by `raddraft model export`, or (openai) by `raddraft model describe`",
    )
    backend: Literal["onnx", "openai"] = Field(
        "onnx", description="onnx runs it here, openai asks an OpenAI-compatible server"
    )
    base_url: Annotated[AnyHttpUrl | None, Masked] = Field(
        None, repr=False, description="openai: the server with its version, as in https://gpu.example/v1"
    )
    served_name: str | None = Field(
        None, min_length=1, description="openai: what the server knows the model by; default: its only one"
    )
    api_key: SecretStr | None = Field(
        None, description="openai: bearer token; better RADDRAFT_MODEL__API_KEY than the file"
    )
    server_ca: Path | None = Field(
        None, description="openai: PEM certificates to trust instead of the system's"
    )
    private_network: bool = Field(
        False, description="openai: the network to the server is private, images may go there without TLS"
    )
    providers: tuple[Literal["tensorrt", "cuda", "cpu"], ...] = Field(
        ("cpu",), min_length=1, description="in order of preference; tensorrt takes the vision graph only"
    )
    devices: tuple[int, ...] = Field(
        (),
        description="numbers of the GPUs that `serve` starts a reading worker for; default: one, for the first",
    )
    allow_cpu_fallback: bool = Field(
        False, description="run on the CPU where the first provider is not to be had"
    )
    shadow: str | None = Field(
        None,
        min_length=1,
        description="a second package that reads silently after the first; `raddraft model compare`",
    )
    calibration: Path | None = Field(
        None, description="file of `raddraft model calibrate`; default: the package's own, if it has one"
    )
    familiarity: Path | None = Field(
        None, description="file of `raddraft model familiarise`; default: the package's own, if it has one"
    )
    max_tiles: int | None = Field(
        None, ge=1, le=64, description="most tiles an image is cut into; see `raddraft model bench --tokens`"
    )
    downscale_to: int | None = Field(
        None, ge=32, description="longest side in pixels an image is scaled down to before it is cut"
    )
    cache_bytes: int | None = Field(
        None,
        ge=1 << 20,
        description="most memory for keys and values; default: what `studies_in_flight` needs",
    )
    device_memory_bytes: int | None = Field(
        None,
        ge=1 << 28,
        description="most GPU memory that ONNX Runtime takes for weights and work; default: no limit",
    )
    cuda_graphs: bool = Field(
        False, description="cuda: decode steps are captured once and replayed; not yet run on a GPU"
    )
    threads: int | None = Field(
        None, ge=1, le=256, description="threads of one engine step; default: physical cores"
    )
    spin: bool = Field(
        False,
        description="threads of a step spin while they wait: faster where the worker has its cores for itself",
    )
    studies_in_flight: int = Field(2, ge=1, le=64, description="studies a worker reads at once")
    read_timeout_s: float = Field(300.0, gt=0, description="longest time for one image")
    engine_stall_s: float = Field(
        60.0, gt=0, description="an engine without a step for this long is restarted"
    )

    @model_validator(mode="after")
    def _server_is_named_and_safe(self) -> ModelSection:
        if self.backend != "openai":
            return self
        if self.base_url is None:
            raise ValueError("model.backend = 'openai' needs model.base_url")
        if self.base_url.scheme != "https" and not (
            is_loopback(self.base_url.host or "") or self.private_network
        ):
            raise ValueError("images leave without TLS: use https, or set model.private_network = true")
        return self


class DecodeSection(Section):
    """Limits of the process that decodes untrusted pixels."""

    timeout_s: float = Field(60.0, gt=0)
    memory_bytes: int = Field(2 << 30, ge=256 << 20)
    max_pixels: int = Field(100_000_000, ge=1_000_000)
    keep_bytes: int = Field(
        1 << 30,
        ge=0,
        description="decoded images kept on disk, in data_dir/displayed, until their faces are built; 0 keeps none",
    )
