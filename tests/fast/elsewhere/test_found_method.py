@pytest.mark.parametrize(
    ("instead", "complaint"),
    [
        ("raise ValueError('oh\\nno')", r"method 'class-means' failed \(ValueError: oh no\): mend it"),
        ("return None", "a fit gives a NoneType, not a FitResult"),
        ("return FitResult(weight)", "its model is a Tensor, not a LogitModel"),
        ("return FitResult(AffineModel.of(weight[:2], -weight[:2] @ centre))", r"logits of shape \(1, 2\) for one row"),
    ],
)
def test_file__whose_fit_fails_is_named(file, text_cache, tmp_path, instead, complaint):
    good = "return FitResult(AffineModel.of(weight, -weight @ centre))"
    assert good in file.read_text()
    file.write_text(file.read_text().replace(good, instead))
    with pytest.raises(UlfineError, match=complaint):
        fit(cache=text_cache, out=tmp_path / "run", split="lt", method=str(file))
    assert not (tmp_path / "run").exists()
