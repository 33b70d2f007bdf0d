"""What can be checked of deploy/ without a container engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.settings import load_settings

_ROOT = Path(__file__).resolve().parents[2]
_DEPLOY = _ROOT / "deploy"
_UNITS = sorted((_DEPLOY / "systemd").glob("*.service"))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("RADDRAFT_")]:
        monkeypatch.delenv(variable)


def test_sample_site_is_a_valid_configuration() -> None:
    settings = load_settings(_DEPLOY / "sites" / "example.toml")
    assert [(d.name, d.type) for d in settings.destinations] == [
        ("pacs", "dicom"),
        ("ehr", "fhir"),
        ("archive", "folder"),
    ]
    assert settings.node.peers
    assert settings.http.host == "127.0.0.1"


def test_compose_site_is_valid_with_the_environment_of_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    service = _compose()["services"]["node"]
    values = {"POSTGRES_PASSWORD": "p", "REDIS_PASSWORD": "r", "HTTP_TOKEN_SHA256": "0" * 64}
    for name, value in service["environment"].items():
        filled = re.sub(r"\$\{(\w+):\?\}", lambda match: values[match[1]], value)
        if name != "RADDRAFT_CONFIG":
            monkeypatch.setenv(name, filled)
    settings = load_settings(_DEPLOY / "sites" / "compose.toml")
    assert settings.database.url is not None
    assert settings.database.url.startswith("postgresql+psycopg://")
    assert settings.broker.url == "redis://:r@redis:6379/0"
    assert [token.role for token in settings.http.tokens] == ["admin"]
    published = {name: service.get("ports") for name, service in _compose()["services"].items()}
    for role, port in (
        ("node", settings.node.port),
        ("api", settings.http.port),
        ("hl7", settings.hl7_listener.port),
    ):
        assert published[role] == [f"127.0.0.1:{port}:{port}"]


def test_compose_has_every_role_and_publishes_on_loopback_only() -> None:
    services = _compose()["services"]
    commands = {service["command"][0] for service in services.values() if "command" in service}
    assert {"node", "worker", "scheduler", "api", "hl7"} <= commands
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_names_only_files_that_exist() -> None:
    raddraft = _compose()["x-raddraft"]
    assert (_DEPLOY / raddraft["build"]["context"] / raddraft["build"]["dockerfile"]).is_file()
    mounted = [volume.split(":")[0] for volume in raddraft["volumes"] if volume.startswith("./")]
    assert mounted
    assert all((_DEPLOY / path).is_file() for path in mounted)


@pytest.mark.parametrize("file", ["Dockerfile.cpu", "Dockerfile.cuda"])
def test_container_file_runs_unprivileged_with_one_runtime(file: str) -> None:
    text = (_DEPLOY / file).read_text()
    extra = file.rpartition(".")[2].replace("cuda", "gpu")
    assert f"'.[{extra},postgres]'" in text
    assert re.search(r"^USER raddraft$", text, re.MULTILINE)
    assert text.count('ENTRYPOINT ["raddraft"]') == 1


@pytest.mark.parametrize("unit", _UNITS, ids=lambda path: path.name)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path, program: Callable[[str], Path]) -> None:
    analyze = program("systemd-analyze")
    # The program the unit starts is not installed here; systemd asks only that it can be executed.
    text, replaced = re.subn(r"/opt/raddraft/bin/raddraft", sys.executable, unit.read_text())
    assert replaced == 1
    (tmp_path / unit.name).write_text(text)
    verified = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / unit.name.replace("@.", "@gpu.")]
        if "@" in unit.name
        else [analyze, "verify", "--man=no", tmp_path / unit.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_units_start_commands_that_exist() -> None:
    started = {
        match[1]
        for unit in _UNITS
        for match in [re.search(r"^ExecStart=\S+ (\w+)", unit.read_text(), re.MULTILINE)]
        if match
    }
    assert started == {"serve", "node", "worker", "scheduler", "api", "hl7"}


def _compose() -> dict:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the extra dev")
    return yaml.safe_load((_DEPLOY / "compose.yaml").read_text())
