import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_fast.bench.contender import find_contenders


def test_settings__file_then_assignment(tmp_path):
    (tmp_path / "s.yaml").write_text("lp-la: {tau: 0.7, steps: 10}\nknn: {temperature: 2e-1}\n")
    lp, knn = find_contenders("lp-la,knn", settings=tmp_path / "s.yaml", assignments=["lp-la.tau=0.5"])
    assert (lp.settings.tau, lp.settings.steps, knn.settings.temperature) == (0.5, 10, 0.2)
    assert lp.grid == ()


def test_grid__all_combinations():
    lp, knn = find_contenders(
        "lp-la,knn", assignments=["lp-la.steps=7"], grid=["lp-la.tau=0.5, 1", "lp-la.scale=10,20,30"]
    )
    assert [(values.tau, values.scale) for values in lp.grid] == [(a, b) for a in (0.5, 1.0) for b in (10, 20, 30)]
    assert {values.steps for values in lp.grid} == {7}
    assert knn.grid == ()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"assignments": ["tau=1"]}, r"cannot read --set 'tau=1': write it as lp-la\.key=value"),
        ({"assignments": ["lp-la.tau"]}, "cannot read --set"),
        ({"assignments": ["knn.k=1"]}, "'knn', which is not compared"),
        ({"assignments": ["lp-la.tao=1"]}, "unknown setting 'tao'"),
        ({"grid": ["lp-la.tau=0.5,big"]}, "tau='big'"),
        ({"grid": ["lp-la.tau=1", "lp-la.tau=2"]}, "names a setting twice"),
        ({"grid": [f"lp-la.steps={','.join(map(str, range(1, 1002)))}"]}, "more than 1000"),
    ],
)
def test_mistakes(more, words):
    with pytest.raises(UsageError, match=words):
        find_contenders("lp-la", **more)


def test_file__names_a_method_that_is_not_compared(tmp_path):
    (tmp_path / "s.yaml").write_text("lp: {steps: 3}\n")
    with pytest.raises(UsageError, match="settings of 'lp', which is not compared"):
        find_contenders("lp-la", settings=tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text("lp-la: 3\n")
    with pytest.raises(UlfineError, match="no mapping of settings under lp-la"):
        find_contenders("lp-la", settings=tmp_path / "s.yaml")


def test_ablation__takes_settings_and_no_grid():
    whole, without, *_ = find_contenders("ulfine", ablation=True, assignments=["ulfine.paf=false"])
    assert whole.settings.paf is False
    assert without.name.startswith("ulfine without ")
    with pytest.raises(UsageError, match="do not go together"):
        find_contenders("ulfine", ablation=True, grid=["ulfine.paf=true,false"])
