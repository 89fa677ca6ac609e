"""The dashboard's launcher: `winnow app`, `python -m pruning app`, `streamlit run app.py` or `python app.py`."""

import sys
from pathlib import Path

import streamlit as st

# In a checkout that is not installed, the package lies beside this file.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from pruning.ui.server import launch
from pruning.ui.server.routes import ROUTES

if __name__ == "__main__":
    launch.main(Path("experiments"), 8501)

app = st.App(launch.MAIN, middleware=launch.middleware(), routes=ROUTES)
