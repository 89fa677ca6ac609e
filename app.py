"""The dashboard's launcher: `python -m pruning app`, `streamlit run app.py` or `python app.py`.

The main script lies in pruning/ui/, apart from pages/, because a folder of that name beside the main script would make
Streamlit serve a first deep link without the shell.
"""

from pathlib import Path

import streamlit as st

app = st.App(Path(__file__).parent / "pruning" / "ui" / "main.py")

if __name__ == "__main__":
    from pruning.ui.launch import main

    main(Path("experiments"), 8501)
