"""Which library draws the map by meaning best? Quality, seconds and repeatability of each on real embeddings, at growing sizes.

    python -m benchmarks.map [--rows 2000 --rows 20000 --rows 100000] [--folder FOLDER]

The texts are the one-line descriptions of all Debian packages with their section as class (`apt-cache dumpavail`; run `apt-get update`
first), each once; above as many as there are, movie sentences, posts and editorials of the study follow. MiniLM embeds them once into
FOLDER. Libraries that are not installed are left out: pip install umap-learn openTSNE pacmap. Each candidate maps in a fresh process with
one thread, twice where it is quick enough; its seconds are those of the processor, which other work on the machine changes little, and
they include what a library compiles at its first use.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.cells import source
from benchmarks.machine import heading
from pruning.analysis import meaning_map
from pruning.data import models
from pruning.data.tasks import TASKS
from pruning.settings import SAMPLE

NEIGHBOURS, ASKED = 10, 2_000
"""Neighbours on the map that are compared, and examples drawn whose neighbours are."""

AGAIN_BELOW = 120.0
"""Seconds below which a candidate maps twice, to compare the bits."""


def main(
    rows: Annotated[list[int], typer.Option(help="Examples; may be given more than once.")] = [2_000, 20_000, 100_000],  # noqa: B006
    folder: Annotated[Path, typer.Option(help="Where embeddings and maps are kept.")] = Path("experiments/benchmark-map"),
) -> None:
    """Run the comparison and print its Markdown."""
    print(heading("The map by meaning", f"python -m benchmarks.map {' '.join(f'--rows {size}' for size in rows)}"))
    print(
        "| examples | map | seconds | trustworthiness | neighbours kept | of the same class kept | same class beside it | same bits twice |"
    )
    print("|---" * 8 + "|")
    embeddings, labels = embedded(max(rows), folder)
    for size in rows:
        drawn = np.random.default_rng(0).permutation(len(embeddings))[:size]
        np.savez(folder / f"rows-{size}.npz", embeddings=embeddings[drawn])
        for name in CANDIDATES:
            found = in_a_process(name, size, folder)
            if found is not None:
                places, seconds, same = found
                judged = quality(np.asarray(embeddings[drawn], dtype=np.float32), places, labels[drawn])
                cells = [f"{len(drawn):,}", name, f"{seconds:.0f}", *(f"{value:.3f}" for value in judged), same]
                print(f"| {' | '.join(cells)} |", flush=True)


def embedded(rows: int, folder: Path) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """The first texts' embeddings [N, D] and classes [N]; embedded once, then read."""
    from pruning.training import embed

    texts, classes = texts_of(rows)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"embeddings-{len(texts)}.npy"
    if not kept.exists():
        table = pa.table({"text": texts, "label": classes})
        path = models.locate(SAMPLE)
        encoded = TASKS["classification"].encode(table, models.load_tokenizer(path), 64)
        began = time.perf_counter()
        parts = [item for item in embed(encoded, str(path)) if not isinstance(item, int)]
        print(f"embedded {len(texts):,} texts in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        np.save(kept, np.concatenate(parts))
    return np.load(kept, mmap_mode="r"), classes


def texts_of(rows: int) -> tuple[list[str], NDArray[np.int64]]:
    """The texts and their classes."""
    listed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for stanza in listed.split("\n\n"):
        fields = dict(re.findall(r"^(Section|Description): (.+)$", stanza, re.MULTILINE))
        if len(fields) == 2:
            found.setdefault(fields["Description"], fields["Section"].rpartition("/")[2])
    order = np.random.default_rng(1).permutation(len(found))
    pairs = list(found.items())
    pairs = [pairs[place] for place in order]
    for name in ("movies", "posts", "editorials"):
        pairs += [(row["text"], f"{name} {row['label']}") for row in source(name)] if len(pairs) < rows else []
    names = sorted({label for _, label in pairs[:rows]})
    return [text for text, _ in pairs[:rows]], np.array([names.index(label) for _, label in pairs[:rows]])


def in_a_process(name: str, size: int, folder: Path) -> tuple[NDArray[np.float32], float, str] | None:
    """Places, seconds and whether the bits repeat; None where its library is missing or the size is too large for it."""
    module, most, _ = CANDIDATES[name]
    if size > most or find_spec(module) is None:
        return None
    took, places = [], []
    for attempt in range(2):
        out = folder / f"map-{size}-{attempt}.npy"
        words = [sys.executable, "-c", CHILD, name, str(folder / f"rows-{size}.npz"), str(out)]
        took.append(float(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-1]))
        places.append(np.load(out))
        if took[0] > AGAIN_BELOW:
            return places[0], took[0], "not tried"
    alike = sha256(places[0].tobytes()).digest() == sha256(places[1].tobytes()).digest()
    return places[0], min(took), "yes" if alike else "no"


CHILD = "import sys; from benchmarks.map import timed; timed(*sys.argv[1:])"


def timed(name: str, rows: str, out: str) -> None:
    """Map with one candidate in this process, write its places and print its seconds of processor time."""
    embeddings = np.load(rows)["embeddings"].astype(np.float32)
    began = time.process_time()
    with threadpool_limits(1):
        places = CANDIDATES[name][2](embeddings)
    print(time.process_time() - began)
    np.save(out, np.asarray(places, dtype=np.float32))


def quality(embeddings: NDArray[np.float32], places: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float, float, float]:
    """Trustworthiness, share of the nearest neighbours kept, the same of neighbours of the same class, share of the class beside it.

    Trustworthiness (Venna and Kaski 2001) is 1 less a penalty for neighbours on the map that are far by meaning. All over a draw of
    `ASKED` examples, each among all.
    """
    asked = np.random.default_rng(2).permutation(len(embeddings))[:ASKED]
    total = len(embeddings)
    penalty, kept, alike, alike_kept, same = 0.0, 0, 0, 0, 0
    for one in asked:
        closeness = embeddings @ embeddings[one]
        away = ((places - places[one]) ** 2).sum(axis=1)
        closeness[one], away[one] = np.inf, -1
        rank = np.empty(total, dtype=np.int64)
        rank[np.argsort(-closeness, kind="stable")] = np.arange(total)
        beside = np.argsort(away, kind="stable")[1 : NEIGHBOURS + 1]
        nearest = np.flatnonzero((rank >= 1) & (rank <= NEIGHBOURS))
        penalty += np.maximum(rank[beside] - NEIGHBOURS, 0).sum()
        kept += len(np.intersect1d(beside, nearest))
        own = nearest[labels[nearest] == labels[one]]
        alike, alike_kept = alike + len(own), alike_kept + len(np.intersect1d(beside, own))
        same += int((labels[beside] == labels[one]).sum())
    worst = len(asked) * NEIGHBOURS
    trust = 1 - 2 / (worst * (2 * total - 3 * NEIGHBOURS - 1)) * penalty
    return float(trust), kept / worst, alike_kept / max(1, alike), same / worst


def _pca(rows: NDArray[np.float32]) -> Any:
    from sklearn.decomposition import PCA

    return PCA(2, random_state=0).fit_transform(rows)


def _tsne(rows: NDArray[np.float32]) -> Any:
    from sklearn.manifold import TSNE

    return TSNE(init="pca", random_state=0, n_jobs=1).fit_transform(rows)


def _open_tsne(rows: NDArray[np.float32]) -> Any:
    from openTSNE import TSNE

    return np.asarray(TSNE(random_state=0, n_jobs=1, negative_gradient_method="fft").fit(rows))


def _umap(rows: NDArray[np.float32]) -> Any:
    from umap import UMAP

    return UMAP(random_state=0, n_jobs=1).fit_transform(rows)


def _pacmap(rows: NDArray[np.float32]) -> Any:
    from pacmap import PaCMAP

    return PaCMAP(random_state=0).fit_transform(rows)


def _ours(rows: NDArray[np.float32]) -> Any:
    return meaning_map.places(rows.astype(np.float16))


CANDIDATES: dict[str, tuple[str, int, Callable[[NDArray[np.float32]], Any]]] = {
    "PCA (scikit-learn)": ("sklearn", 10**9, _pca),
    "t-SNE (scikit-learn)": ("sklearn", 20_000, _tsne),
    "t-SNE (openTSNE)": ("openTSNE", 10**9, _open_tsne),
    "UMAP (umap-learn)": ("umap", 10**9, _umap),
    "PaCMAP": ("pacmap", 10**9, _pacmap),
    "Winnow's": ("sklearn", 10**9, _ours),
}
"""Name -> module, most examples, function."""


if __name__ == "__main__":
    typer.run(main)
