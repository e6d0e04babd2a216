"""The floors of the house: the contracts of ``[tool.importlinter]`` in pyproject.toml hold."""

import subprocess
import sys
import tomllib

import pytest

from tests.architecture.source import ROOT

_CONFIGURATION = ROOT / "pyproject.toml"
_CONTRACTS = tomllib.loads(_CONFIGURATION.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


@pytest.mark.parametrize("contract", [contract["id"] for contract in _CONTRACTS])
def test_imports_keep_the_contract(contract: str) -> None:
    # In a process of its own: the tool configures logging, which silences every logger that exists.
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    options = ["--config", str(_CONFIGURATION), "--no-cache", "--contract", contract]
    result = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    report = "\n".join(line for line in result.stdout.splitlines() if not set("╔╗╚╝└┘") & set(line))
    assert result.returncode == 0, f"the import contract {contract!r} is broken:\n{report}\n{result.stderr}"


def test_every_floor_of_the_design_has_its_contract() -> None:
    layers = {contract["id"]: contract["layers"] for contract in _CONTRACTS if contract["type"] == "layers"}
    plain = {
        name: [floor.replace("(", "").replace(")", "") for floor in floors] for name, floors in layers.items()
    }
    assert plain == {
        "floors": ["plugin : fixtures", "_pytest", "strategies | metrics | explore", "_engine", "errors"],
        "engine-floors": ["run", "sim | transports", "check | patterns", "state", "base"],
    }
