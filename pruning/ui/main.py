"""The dashboard's main script: navigation, the shell, then the chosen page."""

import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pruning.errors import WinnowError  # noqa: E402
from pruning.paths import dashboard_folder  # noqa: E402
from pruning.ui import escaping, state  # noqa: E402
from pruning.ui.home import home  # noqa: E402

FILES = dashboard_folder()
st.set_page_config(layout="wide", page_icon=str(FILES / "assets" / "icon.png"))

PAGES = {
    "home": ("Winnow", ":material/grain:"),
    "score": ("Score", ":material/play_circle:"),
    "difficulty": ("Difficulty", ":material/bar_chart:"),
    "frontier": ("Frontier", ":material/show_chart:"),
    "inspect": ("Inspect", ":material/search:"),
    "export": ("Export", ":material/download:"),
}
# Pages that need no experiment: they list what there is, and why what cannot be read is not.
WITHOUT = ("Winnow", "Score")

# The links are our own: an icon given to st.Page would be fetched from Google's servers, to stand in the browser's tab.
pages = {
    name: st.Page(home if name == "home" else FILES / "pages" / f"{name}.py", title=title, url_path=name, default=name == "home")
    for name, (title, _) in PAGES.items()
}
page = st.navigation(list(pages.values()), position="hidden")
try:
    with st.sidebar:
        for name, (title, icon) in PAGES.items():
            st.page_link(pages[name], label=title, icon=icon)
        problem = state.shell()
    if problem and page.title not in WITHOUT:
        st.title(page.title)
        st.error(escaping.markdown(problem), icon=":material/error:")
    else:
        page.run()
except WinnowError as error:
    st.error(escaping.markdown(error), icon=":material/error:")
