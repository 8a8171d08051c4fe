"""What all drawings share: the house's colours and type, and figures as inline SVG for a report.

A drawing is made twice, wide and narrow, from the same data; the report shows the one that fits the screen. Colours are
CSS variables with a fallback, so that the same SVG reads well on light and dark paper; words stay text.
"""

import hashlib
import html
import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# What is drawn in these colours becomes a CSS variable; the second value serves where the page defines none.
INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0505{index:02x}" for index in range(1, 7))
ACCENT = SERIES[0]
CSS = {
    INK: "var(--ink, #1d1f23)",
    MUTED: "var(--muted, #6d727a)",
    RULE: "var(--rule, #e3e0d8)",
    PAPER: "var(--paper, #ffffff)",
    SERIES[0]: "var(--accent, #0f5e8c)",
    SERIES[1]: "var(--series-2, #b4530f)",
    SERIES[2]: "var(--series-3, #3c7a45)",
    SERIES[3]: "var(--series-4, #83519c)",
    SERIES[4]: "var(--series-5, #8a7716)",
    SERIES[5]: "var(--series-6, #59636e)",
}
DASHES = ("-", "--", ":", "-.", (0, (6, 1)), (0, (1, 1)))  # colour alone must not carry the meaning

MARKERS = ("o", "s", "^", "D", "v", "P")

WIDE, NARROW = 736, 340  # in CSS pixels, one to a point
GAP = 0.15  # of a row's height, from its middle to the marks before (above) and after (below)
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 12.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
}


def both(draw: Callable[[Axes, bool], None], height: Callable[[bool], float], alt: str) -> str:
    """Both drawings of one figure; `draw` and `height` (in points) are told whether it is the narrow one."""
    drawings = []
    for kind, width in (("wide", WIDE), ("narrow", NARROW)):
        narrow = kind == "narrow"
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(width / 72, height(narrow) / 72), layout="constrained")
            figure.patch.set_alpha(0)
            axes = figure.add_subplot()
            axes.patch.set_alpha(0)
            draw(axes, narrow)
            drawings.append(_svg(figure, kind, alt))
    return f'<div class="plot">{"".join(drawings)}</div>'


def _svg(figure: Figure, kind: str, alt: str) -> str:
    """The figure as an inline `<svg>`: no prolog, no metadata, no names that another plot could share."""
    stream = io.StringIO()
    salt = hashlib.sha256(f"{kind}{alt}".encode()).hexdigest()[:8]
    with matplotlib.rc_context({"svg.hashsalt": salt}):  # equal data gives equal bytes
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<!--.*?-->", "", text, flags=re.DOTALL)
    for sentinel, css in CSS.items():
        text = text.replace(sentinel, css)
    text = _only_needed_ids(text, salt)
    box = re.search(r'viewBox="([^"]+)"', text)
    if box is None:
        raise RuntimeError("matplotlib wrote an SVG without a viewBox")
    opening = f'<svg class="{kind}" viewBox="{box[1]}" role="img" aria-label="{html.escape(alt, quote=True)}">'
    return opening + text[text.index(">") + 1 :]


def _only_needed_ids(text: str, salt: str) -> str:
    """Drop ids nothing refers to and make the others unlike those of any other plot on the page."""
    needed = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{salt}-{m[1]}"' if m[1] in needed else "", text)
    text = re.sub(r'xlink:href="#([\w-]+)"', rf'href="#{salt}-\1"', text)
    return re.sub(r"url\(#([\w-]+)\)", rf"url(#{salt}-\1)", text)
