"""Executed notebooks as pages that open anywhere: no network, images described, code foldable."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat

from xltkit.files import write

# Widgets live only in a kernel; the result is for programs. Neither can be drawn on a page.
UNDRAWN = {"application/vnd.jupyter.widget-view+json", "application/vnd.xlt.result+json"}

# nbconvert's own template drops the descriptions of images, and asks for scripts from the network.
PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
  body.jp-Notebook { max-width: 62rem; margin: 0 auto; padding: 1rem; }
  nav.back, .why, summary { font-family: sans-serif; }
  nav.back a { color: #0b57a4; text-decoration: underline; }
  .why { border-left: 5px solid #8c1d18; background: #fdeceb; padding: .7rem 1rem; }
  details.code > summary { cursor: pointer; color: #595959; font-size: 0.8rem; }
  figure { margin: 0; } figure img { max-width: 100%; }
  figcaption { color: #424242; font: 0.85rem sans-serif; }
</style>
{%- endblock -%}
{%- block body_header -%}
{{ super() }}
<nav class="back" aria-label="Report"><a href="index.html">All runs and results</a></nav>
{%- set failed = nb.metadata.get('xltkit', {}).get('failed') -%}
{%- if failed %}<p class="why">This run failed: {{ failed | escape_html }}</p>{% endif %}
{%- endblock -%}
{%- block input -%}
<details class="code" open><summary>code</summary>{{ super() }}</details>
{%- endblock -%}
{%- macro figure(output, type, source) -%}
{%- set about = output.metadata.get(type, {}) -%}
{%- set alt = about.get('alt') or output.metadata.get('alt') -%}
{%- set caption = about.get('caption') or output.metadata.get('caption') -%}
<figure class="jp-RenderedImage jp-OutputArea-output">
<img src="data:{{ type }};base64,{{ source }}"
{%- if alt %} alt="{{ alt | escape_html }}"{% endif %}
{%- if about.get('width') %} width="{{ about.width | int }}"{% endif %}>
{%- if caption %}<figcaption>{{ caption | escape_html }}</figcaption>{% endif %}
</figure>
{%- endmacro -%}
{%- block data_png -%}
{{ figure(output, 'image/png', output.data['image/png'] | replace('\\n', '')) }}
{%- endblock -%}
{%- block data_jpg -%}
{{ figure(output, 'image/jpeg', output.data['image/jpeg'] | replace('\\n', '')) }}
{%- endblock -%}
{%- block data_svg -%}
{{ figure(output, 'image/svg+xml', output.data['image/svg+xml'] | text_base64) }}
{%- endblock -%}
"""


def write_page(notebook: Path, page: Path) -> None:
    """Write an executed notebook as one HTML file that needs nothing else."""
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    node = nbformat.read(notebook, as_version=4)
    node.metadata.pop("widgets", None)
    formulas = Formulas()
    for cell in node.cells:
        if cell.cell_type == "markdown":
            cell["source"] = formulas.take(cell["source"])
        outputs = cell.get("outputs", [])
        cell["outputs"] = [o for o in outputs if UNDRAWN.isdisjoint(o.get("data", {}))]
    exporter = HTMLExporter(
        template_name="lab",
        template_file="report.html.j2",
        extra_loaders=[DictLoader({"report.html.j2": PAGE})],
        embed_images=True,
    )
    about = {"metadata": {"name": page.stem, "path": str(notebook.parent)}}
    html = formulas.put(exporter.from_notebook_node(node, about)[0])
    # Notebooks refer to each other; on a page, to the pages that lie beside it.
    write(page, re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', html))


class Formulas:
    """TeX formulas as MathML, which browsers draw without a script from the network.

    They are taken out of the text before it is converted, which would break their tags, and put
    in afterwards.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def take(self, markdown: str) -> str:
        """The text with a mark in the place of each formula."""
        markdown = re.sub(r"\$\$(.+?)\$\$", self._mark, markdown, flags=re.DOTALL)
        return re.sub(r"\$([^$\n]+)\$", self._mark, markdown)

    def put(self, page: str) -> str:
        """The page with the formulas in their places."""
        return re.sub(r"xltformula(\d+)x", lambda mark: self.found[int(mark[1])], page)

    def _mark(self, formula: re.Match) -> str:
        from latex2mathml.converter import convert

        display = "block" if formula[0].startswith("$$") else "inline"
        self.found.append(convert(formula[1].strip(), display=display))
        return f"xltformula{len(self.found) - 1}x"


def mark_failed(notebook: Path, problem: str) -> None:
    """Write into a notebook why its run failed: a kernel that died leaves no word in it."""
    node = json.loads(notebook.read_text(encoding="utf-8"))
    node["metadata"]["xltkit"] = {"failed": problem}
    write(notebook, json.dumps(node, ensure_ascii=False))


def failure(notebook: Path) -> str:
    """Why a run failed, as its notebook says."""
    try:
        metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
        return str(metadata["xltkit"]["failed"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
