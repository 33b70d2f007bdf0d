"""`config check`, `config show` and `config schema`."""

from __future__ import annotations

import typer

from service.cli.common import ConfigOption, print_json
from service.settings import Settings, load_settings

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
