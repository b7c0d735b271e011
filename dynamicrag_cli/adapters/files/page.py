"""One self-contained HTML page from the template folder: texts are escaped, data and pictures stand in the file itself."""

import base64
import hashlib
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dynamicrag_cli.adapters.files.templates import default_folder

# What could end a script element, or a line of JavaScript, stands as an escape, which JSON reads as the same character.
_ESCAPES = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


def render_page(slots: dict[str, Any], data: object) -> str:
    """The page `report/page.html.jinja` with style and script inside, and `data` as the JSON that the script reads.

    The page allows no other script than this one, and nothing from outside: its content security policy says so.
    """
    folder = default_folder() / "report"
    environment = Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    script = (folder / "browser.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {
        "style": Markup((folder / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        "script": Markup(script),  # noqa: S704 - ours
        "script_hash": Markup(f"sha256-{digest}"),  # noqa: S704 - base64
        "data": script_json(data),
    }
    return environment.get_template("page.html.jinja").render({**slots, **own})


def script_json(value: object) -> Markup:
    """The value as JSON that may stand in a script element; NaN is null."""
    return Markup(msgspec.json.encode(value).decode().translate(_ESCAPES))  # noqa: S704 - no mark of HTML is left in it
