"""One quiet visual language: kept, pruned and contested have colours (Okabe and Ito's) that mean that and nothing else, everywhere,
and that stand out from a light and a dark page.

Everything else has colours that stand out from a light and a dark page, and from these and each other for the colour-blind.
"""

KEPT = "#0072B2"
PRUNED = "#D55E00"
CONTESTED = "#CC79A7"
NEUTRAL = "#606A7E"
CHOSEN = "#D0187A"

CATEGORIES = ("#009E73", "#6E4FD0", "#885E20", "#F4436B", "#AA7BF6", "#99953C", "#776945", NEUTRAL)
"""Colours of a column's values, in order of frequency; none of them means kept, pruned, contested or chosen."""

METHODS = {"full": NEUTRAL, "h-score": CATEGORIES[0], "random": CATEGORIES[2], "ambiguous": CATEGORIES[1]}
"""Colour of a frontier point by its subset's method."""

OTHER = CATEGORIES[3]
"""Colour of any other method."""

SYMBOLS = {"full": "cross", "h-score": "circle", "random": "square", "ambiguous": "diamond"}
"""Shape of a frontier point by its subset's method; other rules are triangles."""

RIGHT, WRONG = CATEGORIES[0], CATEGORIES[2]
"""What the model said of an example."""

_ON_PRIMARY = (
    '[data-testid^="stBaseButton-primary"] *, [data-testid="stMultiSelect"] span[title], [data-testid="stMultiSelect"] span[title] ~ *'
)

READABLE = f"<style>{_ON_PRIMARY} {{ color: #0B1116 !important }}</style>"
"""A style for the dark theme that Streamlit has no setting for: on its light primary colour, text is dark too."""
