"""The engine behind the plugin. Private: import public names from :mod:`pytest_convergence`."""
