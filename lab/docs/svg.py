# SPDX-License-Identifier: Apache-2.0
"""A few shapes as SVG text, readable on a light and on a dark page.

Enters: coordinates in pixels, text, a class of the style. Leaves: elements, and ``picture`` a file of
them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import escape

Point = tuple[float, float]

_STYLE: Final = """
text { font: 15px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.small { font-size: 13px }
.big { font-size: 17px; font-weight: 600 }
.muted { fill: #59636e }
.box { fill: #f6f8fa; stroke: #818b98; stroke-width: 1.5 }
.line { fill: none; stroke: #59636e; stroke-width: 1.5 }
.axis { stroke: #818b98; stroke-width: 1 }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.mice { fill: #0969da } .mice-line { fill: none; stroke: #0969da; stroke-width: 3 }
.elephant { fill: #bc4c00 } .elephant-line { fill: none; stroke: #bc4c00; stroke-width: 3 }
.before { fill: #818b98 }
.head { fill: #59636e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .muted { fill: #9198a1 } .box { fill: #151b23; stroke: #656c76 }
  .line { stroke: #9198a1 } .head { fill: #9198a1 } .axis { stroke: #656c76 } .grid { stroke: #2f3742 }
  .mice { fill: #4493f8 } .mice-line { stroke: #4493f8 } .before { fill: #656c76 }
  .elephant { fill: #f0883e } .elephant-line { stroke: #f0883e }
}
"""
_HEAD: Final = (
    '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path class="head" d="M0 0L10 5L0 10z"/></marker></defs>'
)


def picture(width: int, height: int, title: str, elements: Iterable[str]) -> str:
    """A whole file. ``title`` is what a reader without eyes for it hears."""
    frame = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    heard = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame} role="img" aria-label="{heard}">\n'
        f"<title>{heard}</title>\n<style>{_STYLE}</style>\n{_HEAD}\n" + "\n".join(elements) + "\n</svg>\n"
    )


def text(at: Point, words: str, style: str = "", anchor: str = "start") -> str:
    """One line of text."""
    x, y = at
    return f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def box(at: Point, size: Point, lines: Sequence[str]) -> str:
    """A rounded box; its first line is a heading, the others are small."""
    (x, y), (width, height) = at, size
    middle, top = x + width / 2, y + height / 2 - 10 * (len(lines) - 1) + 5
    words = [
        text((middle, top + 20 * row), line, "small muted" if row else "big", "middle")
        for row, line in enumerate(lines)
    ]
    return f'<rect class="box" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>\n' + "\n".join(
        words
    )


def bar(at: Point, size: Point, style: str) -> str:
    (x, y), (width, height) = at, size
    return f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{max(width, 1.5):.1f}" height="{height:g}" rx="2"/>'


def path(points: Sequence[Point], style: str = "line", ends: str = "") -> str:
    """A line through ``points``; ``ends``: arrow heads, ``start``, ``end`` or both."""
    way = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))
    heads = "".join(f' marker-{end}="url(#head)"' for end in ends.split())
    return f'<path class="{style}" d="{way}"{heads}/>'


def dot(at: Point, style: str) -> str:
    return f'<circle class="{style}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="5"/>'
