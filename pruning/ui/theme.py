"""One quiet visual language: the same three colours for the same three things everywhere (Okabe and Ito, colour-blind safe)."""

KEPT = "#0072B2"
PRUNED = "#E69F00"
CONTESTED = "#CC79A7"
NEUTRAL = "#8795A1"
CHOSEN = "#D55E00"

METHODS = {"full": NEUTRAL, "h-score": KEPT, "random": PRUNED, "ambiguous": CONTESTED}
"""Colour of a frontier point by its subset's method; other rules are green."""

OTHER = "#009E73"
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8795A1")
"""Colours of a column's values, in order of frequency."""

_ON_PRIMARY = (
    '[data-testid^="stBaseButton-primary"] *, [data-testid="stMultiSelect"] span[title], [data-testid="stMultiSelect"] span[title] ~ *'
)

READABLE = f"<style>{_ON_PRIMARY} {{ color: #0B1116 !important }}</style>"
"""A style for the dark theme that Streamlit has no setting for: on its light primary colour, text is dark too."""
