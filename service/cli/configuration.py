"""`config check`, `config show`, `config schema` and `config jwks`."""

from __future__ import annotations

import typer

from service.cli.common import ConfigOption, print_json
from service.settings import ConfigurationError, FhirDestination, Settings, load_settings

app = typer.Typer(no_args_is_help=True)


@app.command()
def check(config: ConfigOption = None) -> None:
    """Validate a configuration; exit status 2 with one line if it cannot be used."""
    settings = load_settings(config)
    typer.echo(f"good: {len(settings.destinations)} destinations, data in {settings.data_dir}")


@app.command()
def show(config: ConfigOption = None) -> None:
    """Print the effective configuration; secrets are masked."""
    print_json(load_settings(config).model_dump(mode="json"))


@app.command()
def schema() -> None:
    """Print the JSON schema of the configuration."""
    print_json(Settings.model_json_schema())


@app.command()
def jwks(destination: str, config: ConfigOption = None) -> None:
    """Print the public keys of a FHIR destination as a JSON Web Key Set, to register or publish."""
    # Only this command needs the FHIR client.
    from service.fhir_access import smart_client

    for entry in load_settings(config).destinations:
        if isinstance(entry, FhirDestination) and entry.name == destination and entry.smart is not None:
            print_json(smart_client(entry, entry.smart).keys.jwks())
            return
    raise ConfigurationError(f"no FHIR destination '{destination}' has a smart section", tag="destinations")
