"""The dashboard's main script: navigation, the context bar, then the chosen page."""

import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pruning.errors import WinnowError  # noqa: E402
from pruning.paths import dashboard_folder  # noqa: E402
from pruning.ui import address, context_bar, escaping, state  # noqa: E402

FILES = dashboard_folder()
PAGES = ("overview", "score", "difficulty", "frontier", "inspect", "export")
# Pages that need no experiment: they list what there is, and why what cannot be read is not.
WITHOUT = ("overview", "score")


def main() -> None:
    """Draw the dashboard. No page is a module global: outside a run a page has no title, and inspecting the module would ask for it."""
    st.set_page_config(layout="wide", page_icon=str(FILES / "assets" / "icon.png"))
    # No icons: those given to st.Page are fetched from Google's servers, to stand in the browser's tab.
    page = st.navigation(
        [st.Page(FILES / "pages" / f"{name}.py", title=name.capitalize(), url_path=name, default=name == "overview") for name in PAGES],
        position="top",
    )
    st.logo(str(FILES / "assets" / "wordmark.svg"), size="large")
    name = page.title.lower()
    address.restore(name)
    st.session_state[address.REPORTED] = []
    bar, notes = st.container(), st.container()
    try:
        with bar:
            problem = context_bar.show(name, page.title)
        state.follow()
        if problem:
            state.report(problem)
        if not problem or name in WITHOUT:
            page.run()
    except state.PageEnd:
        pass
    except WinnowError as error:
        state.report(error)
    finally:
        for sentence in address.notes():
            notes.warning(escaping.markdown(sentence), icon=":material/link_off:")
        state.show_sayings()
        address.write()


if __name__ == "__main__":
    main()
