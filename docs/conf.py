"""The site: `sphinx-build -W -n docs docs/_build`. It needs no network; lessons and how-to pages are executed."""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # reference/pages.py; the checkout's nbgrad and bench

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # two waiting for each other take longer than one

import nbgrad  # noqa: E402

project, author, release = "nbgrad", "The nbgrad developers", nbgrad.__version__
copyright = author

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build", "jupyter_execute"]
autosummary_generate = False  # reference/pages.py writes the pages; of autosummary comes the role below
default_role = "autolink"  # `name` in a docstring: a link where that is a name of Python's, else italics
autodoc_typehints = "none"  # numpydoc's sections say more than "Any"
numpydoc_show_class_members = False
# Names of other projects, and those of ours that are not public, have no page to link to.
nitpick_ignore_regex = [("py:.*", r"(?!nbgrad\.(\w+\.)*\w+$).*"), ("py:.*", r"nbgrad\..*")]

nb_execution_mode = "cache"  # a page that has not changed is not run again
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_execution_show_tb = True
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "nbgrad"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

NOTEBOOK = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"


def executed(app, page, source):
    """The ```python blocks of a how-to page are cells, where what the page imports is installed."""
    if not page.startswith("how-to/") or page == "how-to/index":
        return
    code = "".join(re.findall(r"^```python$(.*?)^```$", source[0], re.MULTILINE | re.DOTALL))
    imports = re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
    if code and all(find_spec(name) for name in imports):
        source[0] = NOTEBOOK + re.sub(r"^```python$", "```{code-cell} python", source[0], flags=re.MULTILINE)


def setup(app):
    from reference import pages

    pages.write(HERE / "reference" / "generated")
    app.connect("source-read", executed)
    app.connect("autodoc-process-docstring", pages.without_markup, 400)  # before numpydoc, which writes markup
