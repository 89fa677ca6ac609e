"""The dashboard's main script: navigation, the shell, then the chosen page."""

import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pruning.errors import WinnowError  # noqa: E402
from pruning.ui import state  # noqa: E402
from pruning.ui.home import home  # noqa: E402

st.set_page_config(layout="wide")

PAGES = {
    "score": ("Score", ":material/play_circle:"),
    "difficulty": ("Difficulty", ":material/bar_chart:"),
    "frontier": ("Frontier", ":material/show_chart:"),
    "inspect": ("Inspect", ":material/search:"),
    "export": ("Export", ":material/download:"),
}

page = st.navigation(
    [
        st.Page(home, title="Winnow", icon=":material/grain:", url_path="home", default=True),
        *(st.Page(ROOT / "pages" / f"{name}.py", title=title, icon=icon, url_path=name) for name, (title, icon) in PAGES.items()),
    ]
)
try:
    with st.sidebar:
        state.shell()
    page.run()
except WinnowError as error:
    st.error(str(error), icon=":material/error:")
