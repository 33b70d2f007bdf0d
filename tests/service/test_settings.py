"""The configuration: file and environment, one clear line for what is wrong, nothing secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import ConfigurationError, FhirDestination, configuration_sha256, load_settings

_TOKEN = '[{ name = "ehr", sha256 = "' + "a" * 64 + '", role = "viewer" }]'
_FOLDER = '[[destinations]]\nname = "archive"\ntype = "folder"\npath = "/srv/results"\n'


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of whoever runs the tests are not the test's."""
    import os

    for variable in list(os.environ):
        if variable.startswith("RADDRAFT_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "site.toml"


def refused(config: Path, text: str) -> str:
    """The line an administrator gets for a configuration that cannot be used."""
    config.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_without_a_file_everything_stays_on_this_machine() -> None:
    settings = load_settings()
    assert (settings.node.host, settings.http.host) == ("127.0.0.1", "127.0.0.1")
    assert settings.node.peers == ()
    assert settings.destinations == ()
    assert settings.model.path == "embedded"


def test_the_environment_wins_over_the_file_key_by_key(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('[node]\nae_title = "SITE"\nport = 104\n', encoding="utf-8")
    monkeypatch.setenv("RADDRAFT_NODE__PORT", "11119")
    monkeypatch.setenv("RADDRAFT_STUDY__QUIET_PERIOD_S", "2.5")
    settings = load_settings(config)
    assert (settings.node.ae_title, settings.node.port) == ("SITE", 11119)
    assert settings.study.quiet_period_s == 2.5


def test_the_environment_may_name_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('data_dir = "/var/lib/elsewhere"\n', encoding="utf-8")
    monkeypatch.setenv("RADDRAFT_CONFIG", str(config))
    assert load_settings().data_dir == Path("/var/lib/elsewhere")


def test_the_environment_may_give_lists_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADDRAFT_NODE__PEERS", '[{"ae_title": "PACS", "host": "10.0.0.5"}]')
    assert [(p.ae_title, p.host) for p in load_settings().node.peers] == [("PACS", "10.0.0.5")]


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("[nodes]\nport = 1\n", "nodes", "node"),
        ("[node]\nae_titel = 'X'\n", "node.ae_titel", "ae_title"),
        ("[node]\npeers = [{ ae_title = 'X', hots = 'y' }]\n", "node.peers.hots", "host"),
        ("[study]\nquiet_period = 3\n", "study.quiet_period", "quiet_period_s"),
        (_FOLDER + "draft_state = 'preliminary'\n", "destinations.draft_state", "draft_status"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(
    config: Path, text: str, unknown: str, nearest: str
) -> None:
    message = refused(config, text)
    assert f"'{unknown}'" in message and f"did you mean '{nearest}'?" in message


def test_an_unknown_variable_is_refused_like_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADDRAFT_NODE__PROT", "104")
    with pytest.raises(ConfigurationError, match=r"node\.prot.*'port'"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[node]\nport = 70000\n", "node.port"),
        ("[node]\nae_title = 'SEVENTEEN LETTERS'\n", "node.ae_title"),
        ("[node]\nae_title = 'BACK\\SLASH'\n", "node.ae_title"),
        ("[study]\nmax_wait_s = 0\n", "study.max_wait_s"),
        ("[model]\nproviders = ['tpu']\n", "model.providers"),
        ("[[destinations]]\nname = 'x'\ntype = 'dicom'\n", "destinations"),
        (_FOLDER.replace("archive", "a b"), "destinations"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_key(config: Path, text: str, key: str) -> None:
    assert refused(config, text).startswith(key)


def test_what_is_no_toml_and_no_file_is_said(config: Path, tmp_path: Path) -> None:
    assert "no TOML" in refused(config, "[node\n")
    with pytest.raises(ConfigurationError, match="there is no configuration file"):
        load_settings(tmp_path / "none.toml")


def test_the_configuration_cannot_be_changed_afterwards() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.data_dir = Path("/elsewhere")  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.node.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('host = "0.0.0.0"\n', "tokens"),
        ('host = "::"\nbehind_proxy = true\n', "tokens"),
        ('host = "pacs.example"\n', "tokens"),
        (f'host = "0.0.0.0"\ntokens = {_TOKEN}\n', "tls"),
    ],
)
def test_the_api_is_never_bound_openly_without_guards(config: Path, text: str, missing: str) -> None:
    message = refused(config, f"[http]\n{text}")
    assert "beyond loopback" in message and missing in message


@pytest.mark.parametrize("guard", ["behind_proxy = true", 'tls = { cert = "c.pem", key = "k.pem" }'])
def test_the_api_may_be_bound_openly_with_tokens_and_tls(config: Path, guard: str) -> None:
    config.write_text(f'[http]\nhost = "0.0.0.0"\ntokens = {_TOKEN}\n{guard}\n', encoding="utf-8")
    assert load_settings(config).http.host == "0.0.0.0"


def test_two_destinations_of_one_name_are_refused(config: Path) -> None:
    assert "two destinations are named 'archive'" in refused(config, _FOLDER + _FOLDER)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ('"OBR-25" = "F"', "'OBR-25' cannot be filled"),
        ('"PID-3" = "{accession_number}"', "'PID-3' cannot be filled"),
        ('"ZRD-1" = "{patient_name}"', "ZRD-1: a draft has no {patient_name}"),
        ('"ZRD-1" = "{impression"', "braces"),
        ('"ZRD-1" = "a\\rOBX|1"', "one line"),
    ],
)
def test_fields_that_a_site_may_not_fill_are_refused_at_the_start(
    config: Path, fields: str, said: str
) -> None:
    ris = '[[destinations]]\nname = "ris"\ntype = "hl7v2"\nhost = "127.0.0.1"\n'
    message = refused(config, f"{ris}fields = {{ {fields} }}\n")
    assert message.startswith("destinations.0.fields: ") and said in message


def test_secrets_are_masked_in_what_is_shown(config: Path) -> None:
    config.write_text(
        "[[destinations]]\nname = 'ehr'\ntype = 'fhir'\nbase_url = 'https://me:very-secret@ehr.example/fhir'\n"
        "bearer_token = 'very-secret'\n"
        "[database]\nurl = 'postgresql+psycopg://raddraft:very-secret@db/book'\n"
        "[broker]\nurl = 'redis://:very-secret@broker:6379/0'\n",
        encoding="utf-8",
    )
    settings = load_settings(config)
    (destination,) = settings.destinations
    assert isinstance(destination, FhirDestination) and destination.bearer_token is not None
    assert destination.bearer_token.get_secret_value() == "very-secret"
    assert settings.database.url is not None and "very-secret" in settings.database.url
    shown = settings.model_dump_json()
    assert "very-secret" not in shown + repr(settings)
    for kept in ("raddraft:**********@db/book", "redis://:**********@broker:6379/0", "ehr.example/fhir"):
        assert kept in shown


def test_the_digest_follows_what_decides_results_and_nothing_else(config: Path) -> None:
    plain = configuration_sha256(load_settings())
    assert plain == configuration_sha256(load_settings())
    config.write_text("[node]\nport = 104\n" + _FOLDER, encoding="utf-8")
    assert configuration_sha256(load_settings(config)) == plain
    config.write_text("[model]\npath = '/srv/model'\n", encoding="utf-8")
    assert configuration_sha256(load_settings(config)) != plain
    config.write_text("[decode]\nmax_pixels = 2000000\n", encoding="utf-8")
    assert configuration_sha256(load_settings(config)) != plain
