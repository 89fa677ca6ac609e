"""Colours and shapes. Kept and pruned have their own colours (Okabe and Ito's), which are used for nothing else.

All colours are visible on light and dark pages, and distinguishable for colour-blind readers.
"""

KEPT = "#0072B2"
PRUNED = "#D55E00"
NEUTRAL = "#606A7E"
CHOSEN = "#D0187A"
CHOSEN_AREA = "rgba(208, 24, 122, 0.12)"
LABEL, ON_LABEL = "rgba(10, 16, 22, 0.78)", "#FFFFFF"
"""Words on top of a map's marks: the same on light and dark pages."""

CATEGORIES = ("#009E73", "#6E4FD0", "#885E20", "#F4436B", "#AA7BF6", "#99953C", "#776945", NEUTRAL)
"""Colours of a column's values, in order of frequency; none is a colour of kept, pruned or chosen."""

SCALE = ((0.0, "#7E5BE8"), (0.5, "#8E7F9E"), (1.0, "#99953C"))
"""Colours of a share from 0 to 1: place and colour. All have about the same lightness, so that none fades on a light or a dark page."""

METHODS = {"full": NEUTRAL, "h-score": CATEGORIES[0], "random": CATEGORIES[2], "ambiguous": CATEGORIES[1]}
"""Colour of a frontier point by its subset's method."""

OTHER = CATEGORIES[3]
"""Colour of any other method."""

SYMBOLS = {"full": "cross", "h-score": "circle", "random": "square", "ambiguous": "diamond"}
"""Shape of a frontier point by its subset's method; other rules are triangles."""

RIGHT, WRONG = CATEGORIES[0], CATEGORIES[2]
"""Colours of right and wrong predictions."""

WORSE = CATEGORIES[3]
"""Colour of a group that loses."""

_ON_PRIMARY = (
    '[data-testid^="stBaseButton-primary"] *, [data-testid="stMultiSelect"] span[title], [data-testid="stMultiSelect"] span[title] ~ *'
)

_READABLE = f"{_ON_PRIMARY} {{ color: light-dark(#FFFFFF, #0B1116) !important }}"

WIDE = "wide-"
"""Prefix of the key of a container whose columns stand one above the other on a tablet too."""

_WIDE = f'[class*="st-key-{WIDE}"] > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"]'

FIVE = "five-numbers"
"""Key of the row of five numbers, which takes two rows on a tablet."""

_FIVE = f"@media (min-width: 641px) and (max-width: 1000px) {{ .st-key-{FIVE} > * {{ min-width: 30% }} }}"

CSS = f"<style>{_READABLE} @media (max-width: 1000px) {{ {_WIDE} {{ min-width: 100% }} }} {_FIVE}</style>"
"""Styles that Streamlit has no setting for: dark text on the dark theme's light primary colour, also when the system changes its
scheme; and a tablet, between a phone, where all columns are stacked, and a laptop."""
