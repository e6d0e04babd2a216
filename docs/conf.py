"""How the documentation is built: `python -m sphinx -W -b html docs docs/_build/html`."""

from importlib.metadata import version as installed_version

project = "pytest-convergence"
author = "pytest-convergence contributors"
project_copyright = "pytest-convergence contributors"
version = release = installed_version("pytest-convergence")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"pytest-convergence {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
