"""The dashboard's launcher: `python -m pruning app`, `streamlit run app.py` or `python app.py`.

The main script lies in pruning/ui/, apart from pages/, because a folder of that name beside the main script would make
Streamlit serve a first deep link without the shell.
"""

import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pruning.ui.server import launch  # noqa: E402
from pruning.ui.server.routes import ROUTES  # noqa: E402

if __name__ == "__main__":
    launch.main(Path("experiments"), 8501)

app = st.App(ROOT / "pruning" / "ui" / "main.py", middleware=launch.middleware(), routes=ROUTES)
