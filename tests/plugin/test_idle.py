"""A suite that has the plugin installed and does not use it does not feel it."""

import subprocess
import sys

import pytest

_HEAVY = ("asyncio", "hypothesis", "prometheus_client", "pytest_convergence._engine")


def _imported(pytester: pytest.Pytester, *arguments: str) -> set[str]:
    """Return the modules that are loaded after an idle run in a fresh interpreter."""
    pytester.makepyfile(test_idle="def test_idle(): pass\n")
    code = (
        "import sys, pytest; status = pytest.main(sys.argv[1:]); "
        "sys.__stdout__.write('\\nMODULES ' + ' '.join(sorted(sys.modules)) + '\\n'); sys.exit(status)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", *arguments],
        cwd=pytester.path,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.rpartition("MODULES ")[2].split())


def test_nothing_heavy_is_imported(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    without = _imported(pytester)
    with_plugin = _imported(pytester, "-p", "convergence")
    assert "pytest_convergence.plugin" in with_plugin
    ours = sorted(with_plugin - without)
    heavy = [name for name in ours if name.startswith(_HEAVY)]
    assert heavy == []
    foreign = [name for name in ours if not name.startswith("pytest_convergence")]
    assert foreign == [], "the plugin's start-up imports these too"


def test_public_names_are_loaded_when_they_are_asked_for() -> None:
    code = (
        "import sys, pytest_convergence as package\n"
        "assert not any(name.startswith('pytest_convergence._engine') for name in sys.modules)\n"
        "for name in package.__all__: getattr(package, name)\n"
        "assert set(package.__all__) <= set(dir(package))\n"
        "try: package.no_such_name\n"
        "except AttributeError as error: assert 'no_such_name' in str(error)\n"
        "else: raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
