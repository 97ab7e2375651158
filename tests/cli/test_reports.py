"""Reports that commands write when their work is done: where they are, and that no fault in one costs the work."""

import json
import subprocess
import sys

import pytest

from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_exports.reporting import unasked

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(scope="module")
def cache(tmp_path_factory, feature_file):
    place = tmp_path_factory.mktemp("reports") / "cache"
    import_features(file=feature_file, out=place, index="none")
    make_split(cache=place, name="lt", labelled_max=16, imbalance=4)
    return place


def test_fit__writes_a_report_into_the_run_after_the_figures(cache, ulfine_here, tmp_path):
    arguments = ("fit", cache, "--split", "lt", "--method", "lp", "--out", tmp_path / "run")
    lines = ulfine_here(*arguments).succeeded().out.splitlines()
    written = tmp_path / "run" / "report.html"
    assert lines[-2] == f"written to {tmp_path / 'run'}"
    assert lines[-1].startswith(f"report written to {written} in ")
    first = written.read_bytes()
    ulfine_here("report", tmp_path / "run", "--map", "pca", "--out", tmp_path / "r.html").succeeded()
    assert (tmp_path / "r.html").read_bytes() == first
    ended = ulfine_here(*arguments, "--overwrite", "--quiet").succeeded()
    assert (ended.out, ended.err) == ("", "")
    assert written.is_file()


def test_fit__without_a_report(cache, ulfine_here, tmp_path):
    out = ulfine_here("fit", cache, "--method", "lp", "--out", tmp_path / "run", "--no-report").succeeded().out
    assert out.splitlines()[-1] == f"written to {tmp_path / 'run'}"
    assert not (tmp_path / "run" / "report.html").exists()


def test_fit__a_fault_in_the_report_is_one_line(cache, ulfine_here, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr(unasked, "write_run_report", broken)
    figures = tmp_path / "f.json"
    ended = ulfine_here("fit", cache, "--method", "lp", "--out", tmp_path / "run", "--json", figures).succeeded()
    assert ended.err.splitlines()[-1] == "no report: ZeroDivisionError: first line second line"
    assert "report" not in ended.out
    assert json.loads(figures.read_text())["run"] == str(tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.json", "run"]


def test_fit__without_the_packages_says_what_to_install(cache, ulfine_here, tmp_path, monkeypatch):
    monkeypatch.setattr(unasked, "missing_packages", lambda: ["matplotlib"])
    ended = ulfine_here("fit", cache, "--method", "lp", "--out", tmp_path / "run").succeeded()
    assert ended.err.splitlines()[-1] == "no report, which needs matplotlib: pip install 'ulfine-fast[report]'"


def test_fit__interrupted_in_the_report_keeps_the_run(cache, ulfine_here, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(unasked, "write_run_report", interrupt)
    ended = ulfine_here("fit", cache, "--method", "lp", "--out", tmp_path / "run")
    assert ended.exit_code == 1
    assert ended.err.splitlines()[-1] == "interrupted: all is done but the report"
    assert ended.out.splitlines()[-1] == f"written to {tmp_path / 'run'}"
    ulfine_here("evaluate", tmp_path / "run").succeeded()


def test_fit__of_a_large_cache_leaves_its_pictures_out(cache, ulfine_here, tmp_path, monkeypatch):
    monkeypatch.setattr(unasked, "MOST_LISTED", 10)
    ulfine_here("fit", cache, "--method", "lp", "--out", tmp_path / "run").succeeded()
    text = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Pictures are left out, since the cache has 200 rows" in text


def test_compare__writes_a_report_beside_its_json_file(cache, ulfine_here, tmp_path):
    arguments = ("compare", cache, "--split", "lt", "--methods", "zero-shot,lp", "--seeds", 2)
    assert "report " not in ulfine_here(*arguments).succeeded().out
    file = tmp_path / "compared.json"
    lines = ulfine_here(*arguments, "--json", file).succeeded().out.splitlines()
    assert lines[-1].startswith(f"report written to {tmp_path / 'compared.html'} in ")
    first = (tmp_path / "compared.html").read_bytes()
    ulfine_here("report", file, "--out", tmp_path / "again.html").succeeded()
    assert (tmp_path / "again.html").read_bytes() == first
    # Its own page is replaced, somebody else's is not.
    assert ulfine_here(*arguments, "--json", file).succeeded().out.splitlines()[-1].startswith("report ")
    (tmp_path / "compared.html").write_text("<p>mine")
    ended = ulfine_here(*arguments, "--json", file).succeeded()
    assert "is none of ulfine's pages and stays" in ended.err.splitlines()[-1]
    assert (tmp_path / "compared.html").read_text() == "<p>mine"
    ulfine_here(*arguments, "--json", tmp_path / "n.json", "--no-report").succeeded()
    assert not (tmp_path / "n.html").exists()


def test_quickstart__report_is_that_of_the_run_that_was_exported(cache, ulfine_here, tmp_path):
    ulfine_here("fit", cache, "--method", "lp", "--out", tmp_path / "runs" / "lp").succeeded()
    figures = {"out": str(tmp_path), "files": {"runs": ["nowhere", str(tmp_path / "runs" / "lp")]}}
    notes = []

    class Noted:
        note = notes.append

    line = unasked.after_quickstart(figures, None, Noted())
    assert line.startswith(f"report written to {tmp_path / 'report.html'} in ")
    assert notes == []
    assert (tmp_path / "report.html").read_bytes() == (tmp_path / "runs" / "lp" / "report.html").read_bytes()


@pytest.mark.parametrize("command", ["fit", "quickstart", "compare"])
def test_help__tells_of_the_option(ulfine_here, command):
    assert "--no-report" in ulfine_here(command, "-h").succeeded().out
    assert "--no-report" not in ulfine_here("evaluate", "-h").succeeded().out


def test_python__fits_without_a_report():
    code = "import sys, ulfine_fast.fitting, ulfine_fast.compare; sys.exit('ulfine_exports' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_compare__fills_the_directory_of_its_fits(cache, ulfine_here, tmp_path):
    arguments = ("compare", cache, "--split", "lt", "--methods", "zero-shot,lp", "--config", tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text("lp: {steps: 5}\n")
    out = tmp_path / "bench"
    ulfine_here(*arguments, "--seeds", "1:2", "--out", out, "--no-report").succeeded()
    assert not (out / "report.html").exists()
    ended = ulfine_here(*arguments, "--seeds", "2", "--out", out).succeeded()
    assert f"2 of 4 fits are in {out} and are not done again" in ended.err
    assert ended.out.splitlines()[-1].startswith(f"report written to {out / 'report.html'} in ")
    assert f"table written to {out / 'table.tex'}" in ended.out
    names = ["comparison.json", "fits", "per_class.csv", "ranks.pdf", "ranks.svg", "report.html"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "table.csv", "table.md", "table.tex"]
    assert "seeds='3:2' cannot be used" in ulfine_here(*arguments, "--seeds", "3:2").failed(2)
    assert "seeds='x' cannot be used" in ulfine_here(*arguments, "--seeds", "x").failed(2)


def test_models__lists_and_refuses(ulfine_here, tmp_path):
    shown = ulfine_here("models", "builtin tiny", "--json", tmp_path / "m.json").succeeded().out.splitlines()
    assert shown[0].split() == ["model", "input", "width", "text", "licence", "weights"]
    assert shown[1].split() == ["builtin:tiny", "32x32", "128", "yes", "apache-2.0", "-"]
    assert "no model has 'nothing of this'" in ulfine_here("models", "nothing of this").failed(1)
