"""Sphinx configuration. Build the site with: python -m sphinx -W docs build/site"""

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from sphinx.application import Sphinx  # noqa: E402

from wavepaint import __version__  # noqa: E402  the checkout need not be installed

project = "WavePaint"
author = "The WavePaint developers"
copyright = "2026, The WavePaint developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "wp_options"]
myst_heading_anchors = 3
smartquotes = False  # they would turn --out into a dash

napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = "WavePaint"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#b0126f", "color-brand-content": "#0b62a8"},
    "dark_css_variables": {"color-brand-primary": "#ff6fc1", "color-brand-content": "#6cb6ff"},
}


def setup(app: Sphinx) -> None:
    """Leave out the Python signature of dataclasses that stand for a table of JSON fields."""

    def hide(app: Sphinx, what: str, name: str, item: object, *rest: Any) -> tuple[str, str] | None:
        is_table = name.startswith("wavepaint.contract.") and hasattr(item, "__dataclass_fields__")
        return ("", "") if is_table else None

    app.connect("autodoc-process-signature", hide)
