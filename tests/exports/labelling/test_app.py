"""The page's data without a browser: what it shows, what it writes, who may ask."""

import time

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.labelling.decisions import read_decisions
from ulfine_exports.label import labelling
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run


def rows_of(page, queue, about="", **more):
    asked = "&".join(f"{name}={value}" for name, value in {"queue": queue, "about": about, **more}.items())
    return page.get(f"/rows?{asked}")


def wait_for_refit(page):
    page.post("/refit")
    until = time.monotonic() + 60
    while (found := page.get("/state")["refit"])["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def test_state(page, shapes_cache, shapes_run):
    state = page.get("/state")
    assert [(each["name"], each["labelled"]) for each in state["classes"]] == [
        ("circle", 9),
        ("square", 9),
        ("triangle", 9),
    ]
    assert (state["rows"], state["unlabelled"], state["decided"]) == (63, 36, 0)
    assert state["answers"] == f"run {shapes_run}"
    assert [queue["name"] for queue in state["queues"]] == [
        "least-sure",
        "most-sure",
        "disagreement",
        "class",
        "unlabelled",
        "changed",
        "next-to-label",
        "label-errors",
        "outliers",
    ]
    assert state["words"]


def test_queues(page):
    least = rows_of(page, "least-sure")["items"]
    assert len(least) == 36
    shares = [item["top"][0][1] for item in least]
    assert shares == sorted(shares)
    assert all(item["label"] == "" and "unlabelled" in item["path"] for item in least)
    found = [rows_of(page, "most-sure", name)["items"] for name in ("circle", "square", "triangle")]
    assert sum(map(len, found)) == 36
    for name, items in zip(("circle", "square", "triangle"), found, strict=True):
        assert {item["top"][0][0] for item in items} <= {name}
        assert [item["top"][0][1] for item in items] == sorted((item["top"][0][1] for item in items), reverse=True)
    doubted = rows_of(page, "disagreement")["items"]
    shares = [dict(item["top"])[item["label"]] for item in doubted]
    assert len(doubted) == 27
    assert shares == sorted(shares)
    assert [item["path"] for item in rows_of(page, "class", "square")["items"]] == [
        *(f"test/square/square0{number}.png" for number in range(4)),
        *(f"train/square/square0{number}.png" for number in range(5)),
    ]
    assert rows_of(page, "changed")["items"] == []


def test_queues__of_inspect(page):
    """By the labels as they stand: a planted error is found, and what is decided does not come again."""
    row = rows_of(page, "class", "circle")["items"][-1]["row"]
    page.post("/decide", {"rows": [row], "label": "square"})
    page.post("/undo")
    page.post("/decide", {"rows": [row], "label": "ring"})
    found = rows_of(page, "next-to-label")["items"]
    assert len(found) == 36
    assert all(item["label"] == "" for item in found)
    page.post("/decide", {"rows": [found[0]["row"]], "label": "circle"})
    assert [item["row"] for item in rows_of(page, "next-to-label")["items"]] == [item["row"] for item in found[1:]]
    assert {item["label"] for item in rows_of(page, "label-errors")["items"]} == {"circle", "square", "triangle"}
    assert all(item["label"] == "" for item in rows_of(page, "outliers")["items"])


def test_queue__goes_on_where_it_was(page):
    first = rows_of(page, "unlabelled", limit=10)
    page.post("/decide", {"rows": [first["items"][0]["row"]], "label": "circle"})
    second = rows_of(page, "unlabelled", after=first["next"], limit=60)
    rows = [item["row"] for part in (first, second) for item in part["items"]]
    assert len(rows) == len(set(rows)) == 36
    assert second["next"] is None
    assert len(rows_of(page, "unlabelled")["items"]) == 35


def test_searches(page):
    row = rows_of(page, "class", "circle")["items"][0]["row"]
    alike = rows_of(page, "like", row)["items"]
    assert alike[0]["row"] == row
    assert sum("circle" in item["path"] for item in alike[:8]) >= 5
    assert len(rows_of(page, "words", "a%20photo%20of%20a%20circle")["items"]) == 60
    for queue, about in (("like", "99"), ("like", "x"), ("words", "%20"), ("odd", "")):
        status, _, content = page.ask(f"/rows?queue={queue}&about={about}")
        assert (status, list(content)) == (400, ["error"])


def test_search_by_a_picture_from_elsewhere(page, shapes_cache):
    cache = FeatureCache.open(shapes_cache)
    content = (shapes_cache.parent / "photos" / cache.paths[7]).read_bytes()
    kind = {"Content_Type": "application/octet-stream"}
    status, _, answer = page.ask("/like", content, **kind)
    assert status == 200
    assert rows_of(page, "picture", answer["about"])["items"][0]["row"] == 7
    assert page.ask("/like", b"no picture", **kind)[0] == 400
    assert page.ask("/like", content)[0] == 415
    assert page.ask("/like", bytes(2**26 + 1), **kind)[0] == 413
    assert page.ask("/rows?queue=picture&about=x")[0] == 400


def test_decisions_are_in_the_file(page, tmp_path):
    items = rows_of(page, "unlabelled")["items"]
    answer = page.post("/decide", {"rows": [items[0]["row"]], "label": " grey  heron "})
    assert answer["items"][0]["label"] == "grey heron"
    assert answer["can_undo"]
    page.post("/decide", {"rows": [items[1]["row"], items[2]["row"]], "label": "circle"})
    page.post("/decide", {"rows": [items[1]["row"]], "label": ""})
    labels = read_decisions(tmp_path / "labels.csv").labels
    assert list(labels.items()) == [
        (items[0]["path"], "grey heron"),
        (items[1]["path"], ""),
        (items[2]["path"], "circle"),
    ]
    assert page.get("/state")["decided"] == 3
    assert page.post("/undo")["items"][0]["label"] == "circle"
    assert [item["label"] for item in page.post("/undo")["items"]] == ["", ""]
    assert page.get("/state")["decided"] == 1
    assert [item["row"] for item in rows_of(page, "unlabelled")["items"]] == [item["row"] for item in items[1:]]
    page.post("/undo")
    assert page.post("/undo")["items"] == []
    assert set(read_decisions(tmp_path / "labels.csv").labels.values()) == {""}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"rows": [0], "label": "unlabelled"}, 400),
        ({"rows": [0], "label": "x" * 300}, 400),
        ({"rows": [63], "label": "circle"}, 400),
        ({"rows": [-1], "label": "circle"}, 400),
        ({"rows": [1, 1], "label": "circle"}, 400),
        ({"rows": [], "label": "circle"}, 400),
        ({"rows": [True], "label": "circle"}, 400),
        ({"rows": 3, "label": "circle"}, 400),
        ({"rows": [1]}, 400),
        ([], 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"x" * (2**20 + 1), 413),
    ],
)
def test_wrong_decision(page, tmp_path, body, status):
    found, _, content = page.ask("/decide", body)
    assert (found, list(content)) == (status, ["error"])
    assert read_decisions(tmp_path / "labels.csv").labels == {}


def test_pictures(page, shapes_cache):
    status, headers, small = page.ask("/pictures/0/small")
    assert (status, headers["content-type"]) == (200, "image/webp")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert page.ask("/pictures/0/large")[2][:4] == small[:4] == b"RIFF"
    for path in ("/pictures/63/small", "/pictures/0/huge", "/pictures/-1/small", "/pictures/..%2f/small"):
        assert page.ask(path)[0] == 404


def test_picture_that_is_gone(shapes_cache, tmp_path):
    """A placeholder, and everything else goes on."""
    cache = FeatureCache.open(shapes_cache)
    picture = shapes_cache.parent / "photos" / cache.paths[0]
    content = picture.read_bytes()
    picture.write_bytes(b"no picture")
    try:
        with labelling(cache=shapes_cache, out=tmp_path / "labels.csv") as (_, desk):
            assert desk.pictures.of(0, "small")[1] == "image/svg+xml"
            assert desk.pictures.of(1, "small")[1] == "image/webp"
    finally:
        picture.write_bytes(content)


def test_refit(page, tmp_path, shapes_cache, shapes_run):
    items = rows_of(page, "unlabelled")["items"]
    for shape in ("circle", "square", "triangle"):
        rows = [item["row"] for item in items if shape in item["path"]]
        page.post("/decide", {"rows": rows, "label": shape if shape != "circle" else "ring"})
    found = wait_for_refit(page)
    assert found["state"] == "done", found
    figures = found["figures"]
    run = load_run(tmp_path / "labels-run")
    assert run.class_names == ("circle", "square", "triangle", "ring")
    assert run.method == "lp"
    assert run.config["settings"] == load_run(shapes_run).config["settings"]
    assert run.labelled_counts == (5, 17, 17, 12)
    assert (figures["decisions"], figures["rows"], figures["judged"]) == (36, 12, "test rows")
    assert figures["accuracy"]["before"] == pytest.approx(load_run(shapes_run).metrics["accuracy"], abs=1e-4)
    assert figures["accuracy"]["after"] == pytest.approx(run.metrics["accuracy"], abs=1e-4)
    assert figures["macro_accuracy"]["after"] == pytest.approx(run.metrics["macro_accuracy"], abs=1e-4)
    changed = rows_of(page, "changed")
    assert changed["total"] == figures["changed"] > 0
    assert {item["top"][0][0] for item in changed["items"]} >= {"ring"}
    # Once more, with the classes as they are now.
    page.post("/decide", {"rows": [items[0]["row"]], "label": "square"})
    assert wait_for_refit(page)["state"] == "done"
    assert load_run(tmp_path / "labels-run").provenance["applied"]["decisions"] == 36


def test_refit__that_cannot_be(page):
    rows = [item["row"] for name in ("circle", "square") for item in rows_of(page, "class", name)["items"]]
    page.post("/decide", {"rows": rows, "label": ""})
    found = wait_for_refit(page)
    assert found["state"] == "failed"
    assert "one class only" in found["message"]


def test_run_that_was_fitted_with_decisions(shapes_cache, tmp_path):
    """Its decisions come into the new file, so that a refit loses none."""
    paths = [path for path in FeatureCache.open(shapes_cache).paths if "unlabelled" in path]
    (tmp_path / "first.csv").write_text(f"path,label\n{paths[0]},ring\n{paths[1]},circle\n")
    run = fit(cache=shapes_cache, out=tmp_path / "run", apply=tmp_path / "first.csv", method="lp", set=["steps=5"])
    for _ in range(2):
        with labelling(cache=shapes_cache, run=run.path, out=tmp_path / "labels.csv") as (_, desk):
            assert desk.now.names[-1] == "ring"
            assert desk.state()["decided"] == 2
            assert desk.now.name_of(desk.now.paths.index(paths[0])) == "ring"
    assert read_decisions(tmp_path / "labels.csv").labels == {paths[0]: "ring", paths[1]: "circle"}


def test_split__hides_its_unlabelled_rows(shapes_cache, tmp_path):
    from ulfine_cache.splits import make_split

    make_split(cache=shapes_cache, name="few", labelled_max=3, imbalance=1.0)
    with labelling(cache=shapes_cache, split="few", out=tmp_path / "labels.csv") as (_, desk):
        assert sorted(desk.now.counts()) == [7, 7, 7]
        split = desk.cache.read_split("few")
        assert (desk.now.labels[split.unlabelled] == -1).all()
        assert desk.answers is not None
        assert desk.answers.by == "the class names alone"
        assert np.isfinite(desk.answers.probabilities.astype(float)).all()


def test_second_page_of_the_same_file(page, shapes_cache, tmp_path):
    with (
        pytest.raises(UlfineError, match="another process is labelling into"),
        labelling(cache=shapes_cache, out=tmp_path / "labels.csv"),
    ):
        pass


def test_door__token(page):
    for path in ("/", "/state", "/rows?queue=unlabelled", "/pictures/0/small", "/nowhere"):
        status, headers, content = page.ask(path, token=False)
        assert (status, list(content)) == (401, ["error"])
        assert "set-cookie" not in headers
    assert page.ask("/?token=wrong", token=False)[0] == 401
    assert page.ask("/state", token=False, Authorization="Bearer wrong")[0] == 401
    assert page.ask("/state", token=False, Cookie="ulfine-label-1=" + page.token)[0] == 401
    assert page.ask("/decide", {"rows": [0], "label": "x"}, token=False)[0] == 401
    status, headers, _ = page.ask(f"/?token={page.token}", token=False)
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert page.ask("/", token=False, Cookie=cookie.partition(";")[0])[0] == 200


def test_door__names_and_pages(page):
    assert page.ask("/state", Host="evil.example")[0] == 421
    assert page.ask("/state", Host="localhost:1")[0] == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        assert page.ask("/decide", {"rows": [0], "label": "x"}, Origin=origin)[0] == 403
    assert page.ask("/decide", {"rows": [0], "label": "x"}, Sec_Fetch_Site="cross-site")[0] == 403
    assert page.ask("/undo", b"{}", Content_Type="text/plain")[0] == 415
    assert page.ask("/decide", method="GET")[0] == 405
    assert page.get("/state")["decided"] == 0


def test_page__policy(page):
    _, headers, content = page.ask("/")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert b"default-src &#39;none&#39;" in content
    assert b"http://" not in content and b"https://" not in content
    assert page.token.encode() not in content
