"""Archives that are asked about studies: how many objects, and what came before."""

from __future__ import annotations

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator

from service.settings.basics import AeTitle, ClientTlsSection, Port, Section


class ArchiveSection(Section):
    """An archive that knows how many objects a study has: by C-FIND, or by QIDO-RS."""

    ae_title: AeTitle | None = None
    host: str | None = Field(None, min_length=1)
    port: Port = 104
    qido_url: AnyHttpUrl | None = Field(None, description="DICOMweb service, instead of ae_title and host")
    bearer_token: SecretStr | None = None
    tls: ClientTlsSection | None = Field(
        None, description="by C-FIND, an empty table speaks TLS by the system's authorities"
    )
    ask_every_s: float = Field(5.0, gt=0)
    settled_s: float = Field(
        5.0, ge=0, description="silence after which a study with all its objects is complete"
    )

    @model_validator(mode="after")
    def _one_way_to_ask(self) -> ArchiveSection:
        by_find = self.ae_title is not None and self.host is not None
        if by_find == (self.qido_url is not None):
            raise ValueError("an archive is asked by ae_title and host, or by qido_url")
        return self


class PriorMoveSection(Section):
    """Our move destination, as the archive knows it; it listens only while an earlier study is fetched."""

    ae_title: AeTitle
    host: str = Field(
        "127.0.0.1", description="address to bind; with several machines, of the reading workers"
    )
    port: Port = 11113


class PriorsSection(Section):
    """Whether an archive is asked for earlier chest radiographs of the patient; off without `ae_title`."""

    ae_title: AeTitle | None = Field(None, description="archive to ask by C-FIND; default: nobody is asked")
    host: str | None = None
    port: Port = 104
    tls: ClientTlsSection | None = None
    timeout_s: float = Field(10.0, gt=0, description="after this it is said that priors are not known")
    default_issuer: str = Field(
        "", description="issuer of patients for whom image or answer name none: a site's explicit choice"
    )
    fetch: bool = Field(False, description="fetch the newest one, to be shown and never read: by C-GET")
    move: PriorMoveSection | None = Field(
        None, description="fetch by C-MOVE instead, to this destination of ours (`ae_title`, `host`, `port`)"
    )

    @model_validator(mode="after")
    def _whole_address(self) -> PriorsSection:
        if (self.ae_title is None) != (self.host is None):
            raise ValueError("ae_title and host belong together")
        if self.move is not None and not self.fetch:
            raise ValueError("move says how to fetch: it needs fetch = true")
        return self
