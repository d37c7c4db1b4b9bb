"""How Sphinx builds the site: the Markdown pages as they lie in the repository, and the API from the docstrings."""

import re
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
docs/ten-minutes
docs/live-learning
docs/cluster
docs/windows
docs/profiles
docs/inputs
docs/commands
docs/page
docs/python
docs/environments
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


_API = "docs/api/"
_ROOM = f"{_API}agent/driving/index".count("/")
_MODULES = re.compile(r"\.\. toctree::\n   :maxdepth: 1\n\n((?:   /\S+\n)+)")


def setup(app: "Sphinx") -> None:
    app.connect("source-read", _place)


def _place(app: "Sphinx", name: str, source: list[str]) -> None:
    """Put a page into the site's contents, which would not be Markdown beside the code.

    The contents end with the rooms, whose pages list their modules: furo draws all of them anew beside every page, and
    with 200 modules that took 58 % of the time.
    """
    source[0] += _CONTENTS.get(name, "")
    if name.startswith(_API) and name.count("/") >= _ROOM:
        source[0] = _MODULES.sub(lambda found: _as_list(found[1].split()), source[0])
        if name.count("/") > _ROOM:
            source[0] = f":orphan:\n\n{source[0]}"


def _as_list(names: list[str]) -> str:
    return "".join(f"* :doc:`{name}`\n" for name in names)
