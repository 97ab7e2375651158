"""What stands in `docs/serving.md` and can be checked without Docker, Triton or a cluster."""

import configparser
import re

import pytest
import yaml

from tests.conftest import ROOT
from ulfine_cache.command import parameters_of
from ulfine_exports.serve.server import serve

TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def blocks(kind):
    found = re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert found
    return found


def test_kserve_files_name_the_probes_of_the_server(colours):
    custom, own = (yaml.safe_load(text) for text in blocks("yaml"))
    assert {custom["kind"], own["kind"]} == {"InferenceService"}
    (container,) = custom["spec"]["predictor"]["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert colours.get(container[probe]["httpGet"]["path"]).status == 200


def test_triton_on_kubernetes_is_scaled_by_what_it_asks_for():
    text = (ROOT / "examples" / "serving" / "triton_kubernetes.yaml").read_text(encoding="utf-8")
    triton, service, scaler = yaml.safe_load_all(text)
    (container,) = triton["spec"]["template"]["spec"]["containers"]
    labels = triton["spec"]["template"]["metadata"]["labels"]
    assert triton["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (triton["kind"], triton["metadata"]["name"])
    # Both would decide how many there are.
    assert "replicas" not in triton["spec"]
    (metric,) = scaler["spec"]["metrics"]
    # A share of nothing is nothing: the pods would stay as many as they are.
    assert metric["resource"]["name"] in container["resources"]["requests"]
    assert scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
    assert "triton_kubernetes.yaml" in TEXT


def test_triton_configuration_has_the_outputs_of_an_export():
    (text,) = blocks("protobuf")
    assert re.findall(r'name: "(\w+)" data_type', text) == ["pixels", "probabilities", "logits"]
    assert text.count("[") == text.count("]")
    assert text.count("{") == text.count("}")


def test_options_are_all_there():
    documented = set(re.findall(r"^\| `--([a-z-]+)`", TEXT, re.MULTILINE))
    assert documented == {name.replace("_", "-") for name in parameters_of(serve)} - {"model", "host", "port"}


def test_small_installation_lists_the_extra_and_what_is_imported():
    with (ROOT / "pyproject.toml").open("rb") as file:
        import tomllib

        project = tomllib.load(file)["project"]
    extra = {re.split(r"[><=; ]", text)[0] for text in project["optional-dependencies"]["serve"]}
    (docker,) = blocks("dockerfile")
    for text in (TEXT.split("## Small installations")[1].split("### Docker")[0], docker):
        named = set(re.findall(r"[a-z][a-z0-9-]+", text))
        assert extra | {"numpy", "onnx", "onnxruntime", "pillow", "pydantic", "typer"} <= named


@pytest.mark.parametrize("path", ["/v2", "/classify", "/model", "/metrics", "/openapi.json", "/v2/health/live"])
def test_routes_are_documented(path):
    assert f"{path}`" in TEXT or f"{path}," in TEXT


def test_systemd_unit_can_be_read():
    unit = configparser.ConfigParser()
    unit.optionxform = str
    unit.read_string(blocks("ini")[0])
    assert unit["Service"]["ExecStart"].split()[1] == "serve"
