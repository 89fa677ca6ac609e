"""A chart of differences with their intervals, one line each, as an SVG that follows the reader's light or dark theme."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil

from pruning.records import Difference

LEFT, WIDTH, LINE, TOP = 260, 760, 26, 46
"""Pixels: room for names, whole width, height of a line, room above the first."""

STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2933 } .quiet { fill: #5b6770 }
.axis { stroke: #9aa5ae } .zero { stroke: #1f2933 } .mark { stroke: #0f766e; fill: #0f766e; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #e4e7eb } .quiet { fill: #a3adb5 } .zero { stroke: #e4e7eb }
.mark { stroke: #2dd4bf; fill: #2dd4bf } }
</style>"""


def forest(title: str, unit: str, lines: Sequence[tuple[str, Difference]]) -> str:
    """Return the SVG. Differences are shares, drawn in percentage points; an interval that leaves the chart ends at its edge."""
    reach = max(1, ceil(max(abs(100 * found.mean) for _, found in lines) + 2))
    height = TOP + LINE * len(lines) + 40
    base = TOP + LINE * len(lines)

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 20) * (min(max(value, -reach), reach) + reach) / (2 * reach), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        STYLE,
        f'<text x="0" y="18" font-weight="600">{escape(title)}</text>',
    ]
    step = max(1, reach // 3)
    for value in range(-(reach // step) * step, reach + 1, step):
        parts.append(f'<line class="axis" x1="{x(value)}" x2="{x(value)}" y1="{base}" y2="{base + 5}"/>')
        parts.append(f'<text class="quiet" x="{x(value)}" y="{base + 20}" text-anchor="middle">{f"{value:+d}" if value else 0}</text>')
    parts.append(f'<text class="quiet" x="{x(0)}" y="{base + 36}" text-anchor="middle">{escape(unit)}</text>')
    parts.append(f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="{TOP - 12}" y2="{base}"/>')
    for number, (name, found) in enumerate(lines):
        y = TOP + LINE * number
        low, mean, high = (x(100 * value) for value in (found.low, found.mean, found.high))
        parts.append(f'<text x="0" y="{y + 4}">{escape(name)}</text>')
        parts.append(f'<line class="mark" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/><circle class="mark" cx="{mean}" cy="{y}" r="4"/>')
    return "\n".join([*parts, "</svg>", ""])
