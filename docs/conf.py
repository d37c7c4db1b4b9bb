"""How Sphinx builds the site: the Markdown pages as they lie in the repository, and the API from the docstrings."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]

project = "Hoodcam"
author = "the Hoodcam contributors"

extensions = ["myst_parser", "sphinx.ext.napoleon", "autoapi.extension"]

# The source folder is the repository, so that a link between two files is the same on the site and beside the code.
include_patterns = ["README.md", "CONTRIBUTING.md", "docs/**.md", "docs/api/**.rst"]
root_doc = "README"

myst_heading_anchors = 3  # `page.md#a-heading` leads to the heading, as it does beside the code
napoleon_use_ivar = True  # or an attribute would be described twice: by its class's docstring, and as a member
suppress_warnings = [
    "autoapi.python_import_resolution",  # it does not follow names that are assigned together: `A, B = 0, 1`
    "ref.python",  # below an array type, "float32, shape (n, outputs): ..." is taken for a type: which `outputs`?
]

# The code is read, not imported: no engine and no game has to be installed, and a moved module moves on the site too.
autoapi_dirs = [str(ROOT / "agent"), str(ROOT / "training")]
autoapi_root = "docs/api"
autoapi_add_toctree_entry = False
autoapi_member_order = "bysource"
autoapi_options = ["members", "undoc-members", "show-module-summary"]
autoapi_python_class_content = "class"

html_theme = "furo"
html_title = "Hoodcam"
html_additional_pages = {"index": "to_readme.html"}  # the page that servers and people open first
templates_path = ["_templates"]

_CONTENTS = {
    "README": """
```{toctree}
:hidden:
:caption: Use

docs/your-own-game
docs/commands
docs/python
docs/games
docs/supertuxkart
docs/troubleshooting
docs/limits
```

```{toctree}
:hidden:
:caption: Understand

docs/performance
docs/safety
docs/architecture
docs/lab/README
```

```{toctree}
:hidden:
:caption: Change

CONTRIBUTING
API of agent <docs/api/agent/index>
API of training <docs/api/training/index>
```
""",
    "docs/lab/README": """
```{toctree}
:hidden:
:glob:

*
```
""",
}


def setup(app: "Sphinx") -> None:
    app.connect("source-read", _add_contents)


def _add_contents(app: "Sphinx", name: str, source: list[str]) -> None:
    """Give some pages the site's contents, which would not be Markdown beside the code."""
    source[0] += _CONTENTS.get(name, "")
