"""The whole loop by commands: first on a home that is not served, then on a served one."""

import csv
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.nouns import NOUNS
from functions.runtimes.local.home import create_home, open_home
from functions.runtimes.local.supervisor import Stack, start
from tests.waiting import until

pytestmark = pytest.mark.emulator


def process(home: Path, *arguments: object, stdin: str = "") -> Any:
    """Run a command in its own process: the module's fixtures live longer than the capture of one test."""
    command = [sys.executable, "-m", "cli.main", *map(str, arguments), "--home", str(home), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin, cwd=home.parent)
    return ended.returncode, json.loads(ended.stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which two months were uploaded and a model was trained and released, without a server."""
    from tests.cli.conftest import CHARTER, month

    folder = tmp_path_factory.mktemp("loop")
    home = folder / "home"
    create_home(home, port=0)
    (folder / "usecase.yaml").write_text(CHARTER)
    assert process(home, "apply", "usecase.yaml")[0] == 0
    for role in ("business", "data_science"):
        assert process(home, "sign-off", "--role", role, "--by", role)[0] == 0
    for number in (1, 2):
        (folder / f"{number}.csv").write_text(month(number))
    code, answer = process(home, "upload", "1.csv", "2.csv")
    assert code == 0
    assert [upload["dataset"] for upload in answer["uploads"]] == [1, 2]
    states = {training["state"]: training["model"] for training in answer["trainings"]}
    assert states["registered"] == 1
    return home


@pytest.fixture(scope="module")
def stack(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A served copy of that home, so that the two halves of the tests do not affect each other."""
    copy = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(trained, copy)
    with start(open_home(copy)) as stack:
        yield stack


@pytest.fixture
def on(tidegate: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that calls commands on the home that is not served."""
    monkeypatch.setenv("TIDEGATE_HOME", str(trained))
    return lambda *arguments: tidegate(*arguments)


@pytest.fixture
def served(tidegate: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that calls commands on the served home."""
    monkeypatch.setenv("TIDEGATE_HOME", str(stack.home.path))
    return lambda *arguments: tidegate(*arguments)


def test_the_first_model_is_on_record(on: Any) -> None:
    (status,) = on("status", "--json").document["usecases"]
    assert (status["datasets"], status["models"]) == (2, max(1, status["models"]))
    first = on("release", "show", "1", "--json").document["document"]
    assert (first["champion"], first["action"], first["by"]) == (1, "release", "release")
    model = on("model", "show", "1").document
    assert model["manifest"]["metrics"]["roc_auc"]["value"] > 0.6


def test_every_noun_lists_what_it_shows(on: Any) -> None:
    listed = {}
    for name in NOUNS:
        found = on(name, "list", "--json")
        assert found.code == 0, found.out
        listed[name] = found.document["items"]
    assert {name for name, items in listed.items() if not items} == {"window", "alert"}
    for name, items in listed.items():
        if not items:
            assert f"tides has no {name} yet" in on(name, "list").out
            assert f"tides has no {name} yet" in on(name, "show", "--json").error["message"]
            continue
        named = "number" if "number" in items[0] else "id"
        newest = on(name, "show", "--json").document
        assert newest == on(name, "show", items[-1][named], "--json").document
        assert (newest["kind"], newest[named]) == (name, items[-1][named])
        assert len(on(name, "list").out.splitlines()) == 1 + len(items)


def test_a_list_has_the_columns_that_matter(on: Any) -> None:
    heading, first, _ = on("dataset", "list").out.splitlines()
    assert heading.split() == ["number", "files", "rows", "first", "last", "contract"]
    assert first.split()[:3] == ["1", "1.csv", "120"]
    heading, first, *_ = on("release", "list").out.splitlines()
    assert heading.split() == ["revision", "champion", "action", "by", "reason", "cause"]
    assert first.split() == ["1", "1", "release", "release", "every", "gate", "passed", "model.1"]
    trainings = on("training", "list", "--json").document["items"]
    assert [(one["cause"], one["state"], one["model"]) for one in trainings[:2]] == [
        ("dataset.1", "refused", None),
        ("dataset.2", "registered", 1),
    ]
    assert on("model", "list", "--json").document["items"][0]["roc_auc"] > 0.6
    assert on("contract", "list", "--json").document["items"][0]["charter"] == 1
    assert on("charter", "list", "--json").document["items"][1]["missing"] == ["data_science"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dataset", "show", "9"), "tides has no dataset 9; there are 1 to 2"),
        (("dataset", "show", "0"), "tides has no dataset 0; there are 1 to 2"),
        (("contract", "show", "2"), "tides has no contract 2; there is 1"),
        (("dataset", "show", "--", "-1"), "NUMBER '-1' is not a number"),
        (("dataset", "show", "x"), "NUMBER 'x' is not a number"),
        (("dataset", "show", "1" * 300), "is not a number"),
        (("release", "show", "x"), "REVISION 'x' is not a number"),
        (("receipt", "show", "x"), "tides has no receipt x; there is "),
        (("receipt", "show", ""), "tides has no receipt ; there is "),
    ],
)
def test_an_unknown_number_or_id_names_what_exists(on: Any, arguments: tuple[str, ...], message: str) -> None:
    error = on(*arguments[:2], "--json", *arguments[2:]).error
    assert (error["exit_code"], message in error["message"]) == (2, True), error["message"]
    assert len(error["message"]) < 300


def test_an_ambiguous_beginning_of_an_id_is_refused(on: Any, trained: Path) -> None:
    receipts = trained / "system" / "receipts" / "tides"
    body = json.loads(next(receipts.iterdir()).read_bytes())
    twins = [body["receipt"][:8] + digit * 56 for digit in "ab"]
    try:
        for twin in twins:
            (receipts / f"{twin}.json").write_text(json.dumps({**body, "receipt": twin}))
        error = on("receipt", "show", twins[0][:8], "--json").error
        assert "is ambiguous in tides" in error["message"]
        assert on("receipt", "show", twins[1], "--json").document["id"] == twins[1]
    finally:
        for twin in twins:
            (receipts / f"{twin}.json").unlink()


def test_lineage_is_walked_both_ways(on: Any) -> None:
    found = on("lineage", "dataset.1", "--json").document
    assert found["up"][0]["other"].startswith("upload.")
    assert "model.1" in {step["other"] for step in found["down"]}
    shown = on("lineage", "model.1")
    assert "dataset.1 (data)" in shown.out
    assert "release.1 (release)" in shown.out
    assert on("lineage", "model.77", "--json").error["title"] == "Not found"
    for node in ("model", "../x", "a/b", "%2e%2e", "x" * 300):
        assert on("lineage", node, "--json").error["field"] == "NODE"
    for prediction in ("x", "0" * 33, "ffffffffffff-" + "0" * 20):
        assert on("lineage", "--prediction", prediction, "--json").code == 2
    assert on("lineage", "--prediction", "013d233f8c00-" + "0" * 20, "--json").error["title"] == "Not found"


def test_a_person_requests_a_training_and_promotes_a_model(on: Any) -> None:
    found = on("train", "--by", "Ada L. (lead)", "--json")
    document = found.document
    assert document["cause"].startswith("person.ada-l-lead-")
    assert document["training"]["state"] == "registered"
    assert document["release"]["action"] in ("refuse", "release")
    assert found.code == (0 if document["release"]["action"] == "release" else 1)
    again = on("train", "--by", "Ada")
    assert again.code in (0, 1)
    later = on("train", "--by", "Ada", "--wait", "0", "--json")
    assert (later.code, later.document["release"]) == (0, None)

    champion = on("status", "--json").document["usecases"][0]["champion"]
    other = 3 - champion
    promoted = on("release", "promote", other, "--reason", "to see", "--by", "Ada", "--json").document
    assert (promoted["release"]["champion"], promoted["release"]["action"]) == (other, "promote")
    assert (promoted["release"]["by"], promoted["release"]["reason"]) == ("Ada", "to see")
    assert on("release", "promote", other, "--reason", "x", "--by", "y", "--json").error["exit_code"] == 1
    back = on("release", "rollback", "--reason", "seen", "--by", "Ada", "--json").document
    assert (back["release"]["champion"], back["revision"]) == (champion, promoted["revision"] + 1)
    error = on("release", "promote", "99", "--reason", "x", "--by", "y", "--json").error
    assert (error["exit_code"], "tides has no model 99; there " in error["message"]) == (2, True)
    for option in ("--reason", "--by"):
        words = {"--reason": "x", "--by": "y", option: " "}
        arguments = (word for pair in words.items() for word in pair)
        assert on("release", "rollback", *arguments, "--json").error["field"] == option


def test_a_token_has_the_requested_scopes_and_lifetime(on: Any) -> None:
    made = on("token", "--allow", "infer, label,metrics", "--subject", "app", "--minutes", "5", "--json").document
    assert made["scopes"] == ["tides:infer", "tides:label", "_stack:read"]
    assert 200 < made["expires"] - time.time() <= 301
    assert on("token").out.count(".") == 2
    wrong = [("--allow", "fly"), ("--allow", ""), ("--subject", "")]
    wrong += [("--minutes", minutes) for minutes in ("0", "-1", "9999", "nan")]
    for option, value in wrong:
        assert on("token", option, value, "--json").error["field"] == option


def test_a_token_for_the_metrics_needs_no_use_case(tidegate: Any) -> None:
    tidegate("init")
    assert tidegate("token", "--allow", "metrics", "--json").document["scopes"] == ["_stack:read"]
    assert tidegate("token", "--allow", "metrics", "--usecase", "none", "--json").error["exit_code"] == 2


def test_predicting_on_a_home_that_is_not_served_names_the_remedy(
    tidegate: Any, signed: Path, csv_of: Callable[..., str]
) -> None:
    Path("new.csv").write_text(csv_of(3))
    for command in ("predict", "labels"):
        error = tidegate(command, "new.csv", "--json").error
        assert (error["exit_code"], error["transient"]) == (3, True)
        assert "`tidegate serve`" in error["message"]


def test_the_served_half_of_the_loop(served: Any, stack: Stack, csv_of: Callable[..., str]) -> None:
    assert served("status", "--json").document["served_at"] == stack.url
    refused = served("serve", "--port", "0", "--json").error
    assert (refused["exit_code"], stack.url in refused["message"]) == (2, True)

    Path("3.csv").write_text(csv_of(3, rows=300, shift=1.5))
    predicted = served("predict", "3.csv")
    assert predicted.code == 0
    assert "left out, because the model does not take them: shut" in predicted.err
    rows = list(csv.DictReader(io.StringIO(predicted.out)))
    assert list(rows[0]) == ["row", "at", "prediction", "probability", "label"]
    assert [row["row"] for row in rows] == [f"3/{number}" for number in range(300)]
    again = served("predict", "3.csv", "--json").document["predictions"]
    assert [row["prediction"] for row in again] == [row["prediction"] for row in rows]

    assert served("labels", "3.csv", "--json").document == {"usecase": "tides", "accepted": 300, "without_outcome": 0}
    Path("one.csv").write_text(f"prediction,outcome\n{rows[0]['prediction']},1\n{rows[1]['prediction']},\n")
    assert served("labels", "one.csv", "--value", "outcome", "--json").document["without_outcome"] == 1

    last = max(rows, key=lambda row: row["at"])["prediction"]  # captured last: when it is there, all are
    until(lambda: served("lineage", "--prediction", last, "--json").code == 0)
    lineage = served("lineage", "--prediction", last, "--json")
    assert lineage.document["prediction"]["id"] == last
    assert "prediction " + last in served("lineage", "--prediction", last).out

    monitored = served("monitor", "--window", "2013-03", "--fail-on-drift", "--json")
    assert monitored.code == 1
    (report,) = monitored.document["reports"]
    assert (report["rows"], report["labelled_rows"]) == (300, 300)
    drifted = {one["name"] for one in report["feature_drift"] if one["drifted"]}
    assert drifted == {"level"}
    (alert,) = monitored.document["alerts"]
    assert served("alert", "show", alert["alert"], "--json").document["document"] == alert
    assert served("alert", "list", "--json").document["items"][0]["summary"] == alert["summary"]
    shown = served("monitor", "--window", "2013-03")
    assert shown.code == 0
    assert "ALERT drift-" in shown.out
    assert served("monitor", "--window", "2013-03", "--model", "99", "--json").error["exit_code"] == 1
    assert served("window", "show", f"m{report['model']}-2013-03", "--json").document["document"]["rows"] == 300
    assert served("window", "list", "--json").document["items"][0]["drifted"] == ["level"]
    assert "drift-" in served("status").out


@pytest.mark.parametrize("window", ["2013", "2013-13", "../x", "a/b", "%2e%2e", "", "2013-04-30", "2999-01"])
def test_a_wrong_window_is_named(on: Any, window: str) -> None:
    error = on("monitor", "--window", window, "--json").error
    assert error["exit_code"] == 2
    assert error["field"] == "--window"
    assert "such as 2013-04" in error["message"] or "not over" in error["message"]


@pytest.mark.parametrize(
    ("body", "code", "names"),
    [
        (b"level,wind\n1,2\n", 1, "moon"),
        (b"level,wind,moon\nx,2,full\n", 1, "'x'"),
        (b"level,wind,moon\n", 1, "rows"),
        (b"", 1, "empty"),
        (b"row,level,wind,moon\n,1,2,full\n", 1, "'row'"),
        (b"at,level,wind,moon\nnoon,1,2,full\n", 1, "'at'"),
        (b'{"inputs": []}', 2, "inputs"),
        (b'{"inputs": [{"name": "level", "shape": [1], "datatype": "FP32", "data": [NaN]}]}', 2, "inputs[0].data"),
        (b'{"a":' * 100_000, 2, "a: there is no such field"),
        (b"\x89PNG\r\n", 1, "picture"),
    ],
    ids=range(10),
)
def test_a_file_that_cannot_be_predicted_is_refused(served: Any, body: bytes, code: int, names: str) -> None:
    Path("bad.csv").write_bytes(body)
    error = served("predict", "bad.csv", "--json").error
    assert error["exit_code"] == code
    assert names in error["message"]


@pytest.mark.parametrize(
    ("body", "arguments", "names"),
    [
        (b"row,shut\n1,1\n", ("--value", "outcome"), "--value"),
        (b"line,shut\n1,1\n", (), "prediction"),
        (b"row,shut\n,1\n", (), "'row'"),
        (b"row,shut\n1,\n", (), "shut"),
        (b"row,shut\n", (), "shut"),
        (b"row,shut\n1,1\n2,maybe\n", (), "'maybe'"),
        (b"row,shut\n1,1\n2,7\n", (), "1 or another whole number"),
    ],
    ids=range(7),
)
def test_labels_that_cannot_be_read_are_refused(
    served: Any, body: bytes, arguments: tuple[str, ...], names: str
) -> None:
    Path("bad.csv").write_bytes(body)
    error = served("labels", "bad.csv", *arguments, "--json").error
    assert error["exit_code"] == 1
    assert names in error["message"]


def test_a_request_on_stdin_is_predicted(stack: Stack) -> None:
    row = {"level": 1.0, "wind": None, "moon": "full"}
    kinds = {"level": "FP32", "wind": "FP32", "moon": "BYTES"}
    inputs = [{"name": name, "shape": [1], "datatype": kinds[name], "data": [value]} for name, value in row.items()]
    code, answer = process(stack.home.path, "predict", "-", stdin=json.dumps({"inputs": inputs}))
    assert code == 0
    (prediction,) = answer["predictions"]
    assert set(prediction) == {"prediction", "probability", "label"}
