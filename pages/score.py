"""Choose data and model, start scoring, watch it."""

from pathlib import Path

import streamlit as st

from pruning import data
from pruning.errors import WinnowError
from pruning.records import Settings, TrainSettings, default_seeds
from pruning.tasks import TASKS
from pruning.ui import live, state

st.title("Score")
experiment = state.chosen()
if experiment is None:
    st.markdown(
        "Winnow fine-tunes your model a few times, watches which training examples it gets right each time, proposes smaller "
        "training sets, measures what each costs in accuracy, and writes the set you choose."
    )
else:
    live.panel(experiment)

st.subheader("New experiment")
source = st.text_input(
    "Data",
    "sample",
    key="data",
    bind="query-params",
    help="A .jsonl, .json, .csv, .tsv or .parquet file, a folder saved by datasets, a hub name, or 'sample': movie-review sentences.",
)
try:
    preview = data.preview(source, rows=5)
except WinnowError as error:
    st.error(str(error))
    st.stop()
for note in preview.notes:
    st.text(note)
st.dataframe([dict(row) for row in preview.rows], hide_index=True)
names = [column.name for column in preview.columns]
columns = {
    field: st.selectbox(f"Column of {field.replace('_', ' ')}", names, names.index(column)) for field, column in preview.mapping.items()
}
if preview.problem:
    st.warning(preview.problem)

with st.form("score"):
    left, right = st.columns(2)
    suggested = Path(source.rstrip("/")).stem or "experiment"
    name = (
        left.text_input("Name", key="name", placeholder=suggested, help="Of the experiment's folder. Empty = after the data.") or suggested
    )
    model = right.text_input("Model", "sample", key="model", help="A folder, a hub name, or 'sample': all-MiniLM-L6-v2, 22.7M parameters.")
    evaluation = left.text_input("Evaluation data", key="evaluation", help="Empty = a fifth is split off, stratified by label.")
    limit = right.number_input("Sentences of the sample", 100, 9000, 800, 100, disabled=source != "sample")
    with st.expander("Recipe"):
        runs = st.number_input("Runs", 1, 100, 6, help="Fine-tunings, each with its own seed. The paper uses 6.")
        epochs = st.number_input("Epochs", 1, 50, 3)
        batch_size = st.number_input("Batch size", 1, 1024, 32)
        learning_rate = st.number_input("Learning rate", 1e-7, 1.0, 2e-5, format="%.1e")
        max_length = st.number_input("Tokens per text", 4, 8192, TASKS[preview.task].max_length if preview.task else 128)
    if st.form_submit_button("Start scoring", type="primary", icon=":material/play_arrow:"):
        recipe = TrainSettings(epochs=int(epochs), batch_size=int(batch_size), learning_rate=learning_rate)
        seeds = default_seeds(int(runs))
        settings = Settings(
            data=source, columns=columns, evaluation=evaluation or None, model=model, max_length=int(max_length), seeds=seeds, train=recipe
        )
        live.start(settings, name, int(limit))
        st.rerun()
