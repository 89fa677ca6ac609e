"""Text of data, names and messages, so that it is shown letter by letter wherever Streamlit or Plotly would read markup in it."""

from __future__ import annotations

import re

JOINER = "\u2060"
"""Takes no room and is not seen; behind a colon or an at sign it keeps what follows from becoming a link, an icon or a colour."""


def markdown(text: object) -> str:
    """Text for `st.error`, `st.caption` and whatever else reads Markdown.

    >>> markdown("![x](y) $z$").replace(chr(92), "|")
    '|!|[x|]|(y|) |$z|$'
    """
    escaped = re.sub(r"([!-/:-@\\[-`{-~\]])", r"\\\1", str(text).replace("\n", " "))
    return re.sub(r"(:|@|www)", rf"\1{JOINER}", escaped)


def badge(text: object) -> str:
    """Text for `st.badge`, which reads Markdown too but escapes square brackets itself.

    >>> badge("[no] $z$").replace(chr(92), "|")
    '[no] |$z|$'
    """
    return re.sub(r"\\([\[\]])", r"\1", markdown(text))


def plotly(text: object) -> str:
    """Text for names, ticks and hovers of a chart, which take tags for markup.

    >>> plotly("<b>%{x}</b>")
    '&lt;b&gt;%&#123;x}&lt;/b&gt;'
    """
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "%&#123;")
