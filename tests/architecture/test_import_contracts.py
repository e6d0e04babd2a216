"""The floors of the house: the contracts of ``[tool.importlinter]`` in pyproject.toml hold."""

import tomllib

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from tests.architecture.source import ROOT

_CONFIGURATION = ROOT / "pyproject.toml"
_CONTRACTS = tomllib.loads(_CONFIGURATION.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


@pytest.mark.parametrize("contract", [contract["id"] for contract in _CONTRACTS])
def test_imports_keep_the_contract(contract: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(_CONFIGURATION), limit_to_contracts=(contract,), no_cache=True)
    report = "\n".join(line for line in capsys.readouterr().out.splitlines() if not set("╔╗╚╝└┘") & set(line))
    assert status == EXIT_STATUS_SUCCESS, f"the import contract {contract!r} is broken:\n{report}"


def test_every_floor_of_the_design_has_its_contract() -> None:
    layers = {contract["id"]: contract["layers"] for contract in _CONTRACTS if contract["type"] == "layers"}
    plain = {
        name: [floor.replace("(", "").replace(")", "") for floor in floors] for name, floors in layers.items()
    }
    assert plain == {
        "floors": ["plugin : fixtures", "_pytest", "strategies | metrics | explore", "_engine", "errors"],
        "engine-floors": ["run", "sim | transports", "check | patterns", "state", "base"],
    }
