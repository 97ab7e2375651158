"""The page in a real browser, which reaches nothing but the server."""

import json
from pathlib import Path

import pytest
from onnx import helper

from tests.exports.pages.headless import CHROMIUM, DRIVER, headless
from tests.exports.serve.conftest import CLASSES, png, value, write_model

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import alert_is_present
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser():
    with headless("1000,900", ["browser"]) as browser:
        yield browser


@pytest.fixture
def page(browser, colours):
    browser.get(colours.url)
    wait(browser, lambda: browser.find_element(By.ID, "name").text == "colours")
    browser.get_log("browser")
    return browser


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, colour in (("red", "red"), ("green", "#00ff00"), ("grey", "grey")):
        (folder / f"{name}.png").write_bytes(png(colour, (120, 90)))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def wait(browser, condition):
    WebDriverWait(browser, 30, poll_frequency=0.05).until(lambda _: condition())


def choose(page, *files: Path):
    page.find_element(By.ID, "file").send_keys("\n".join(map(str, files)))
    wait(page, lambda: page.find_element(By.ID, "status").text.startswith("Done"))
    return page.find_elements(By.CSS_SELECTOR, "article")


def test_says_what_it_serves(page):
    assert page.title == "colours · ulfine"
    assert page.find_element(By.ID, "about").text == "3 classes · ulfine · builtin:tiny · fp32 · cpu"


def test_picture_that_is_chosen(page, pictures):
    (card,) = choose(page, pictures / "red.png")
    assert card.find_element(By.TAG_NAME, "h2").text == "red, 86.7 %"
    rows = card.find_elements(By.CSS_SELECTOR, ".classes li")
    assert [row.text.split("\n") for row in rows] == [["red", "86.7 %"], ["blue", "11.7 %"], ["green", "1.6 %"]]
    widths = [row.find_element(By.CSS_SELECTOR, ".bar").size["width"] for row in rows]
    track = rows[0].find_element(By.CSS_SELECTOR, ".track").size["width"]
    assert widths[0] == pytest.approx(0.867 * track, abs=1)
    assert widths == sorted(widths, reverse=True)
    assert card.find_element(By.TAG_NAME, "img").get_property("naturalWidth") == 120


def test_says_which_logits_spoke(page, pictures):
    grey, green = choose(page, pictures / "green.png", pictures / "grey.png")
    assert grey.find_element(By.CSS_SELECTOR, ".spoke h3").text.startswith("The probe logits spoke.")
    assert green.find_element(By.CSS_SELECTOR, ".spoke h3").text.startswith("The text logits spoke.")
    assert "alone: blue" in grey.find_element(By.CSS_SELECTOR, ".spoke dl").text
    assert grey.find_element(By.CSS_SELECTOR, ".plain").text.endswith("how much it looks like the labelled pictures.")
    assert "the name of the class in words" in green.find_element(By.CSS_SELECTOR, ".plain").text


def test_most_doubtful_first(page, pictures):
    choose(page, pictures / "green.png", pictures / "red.png")
    cards = choose(page, pictures / "grey.png", pictures / "broken.png")
    said = [card.find_element(By.TAG_NAME, "h2").text for card in cards]
    assert said[0] == "Not classified"
    sure = [float(line.split(", ")[1].split()[0]) for line in said[1:]]
    assert sure == sorted(sure)
    assert len(sure) == 3
    summary = page.find_element(By.ID, "summary").text
    assert summary == "4 pictures, the most doubtful first; 1 could not be read."


def test_table_of_answers(page, pictures):
    """In the order in which they came, with all classes, as `ulfine predict --out` writes it."""
    assert not page.find_element(By.ID, "csv").is_displayed()
    choose(page, pictures / "red.png", pictures / "broken.png", pictures / "green.png")
    page.set_script_timeout(30)
    table = page.execute_async_script(
        """
        const done = arguments[0], make = URL.createObjectURL;
        URL.createObjectURL = (blob) => { blob.text().then(done); URL.createObjectURL = make; return make(blob); };
        document.getElementById("csv").click();
        """
    )
    lines = table.splitlines()
    assert lines[0] == "path,label,confidence,red,green,blue"
    assert [line.split(",")[:2] for line in lines[1:]] == [["red.png", "red"], ["green.png", "green"]]
    assert float(lines[1].split(",")[2]) == pytest.approx(0.867, abs=1e-3)


def test_broken_file_beside_a_good_one(page, pictures):
    broken, good = choose(page, pictures / "red.png", pictures / "broken.png")
    assert broken.find_element(By.CSS_SELECTOR, ".error").text == "broken.png: not an image"
    assert good.find_element(By.TAG_NAME, "h2").text.startswith("red")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_picture_that_is_dropped_or_pasted(page, kind):
    """A file that exists in the page only, as one from another window would."""
    page.execute_script(
        """
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 30;
        const context = canvas.getContext("2d");
        context.fillStyle = "#ff0000";
        context.fillRect(0, 0, 30, 30);
        canvas.toBlob((blob) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([blob], "drawn.png", { type: "image/png" }));
          const event = arguments[0] === "drop"
            ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
          document.getElementById("drop").dispatchEvent(event);
        });
        """,
        kind,
    )
    wait(page, lambda: page.find_element(By.ID, "status").text == "Done.")
    assert page.find_element(By.CSS_SELECTOR, "article h2").text.startswith("red")


def test_by_keyboard(page):
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    focused = page.switch_to.active_element
    assert focused.get_attribute("id") == "file"
    assert page.execute_script("return getComputedStyle(document.getElementById('drop')).outlineStyle") == "solid"
    name = page.execute_script("return arguments[0].labels[0].textContent", focused)
    assert name.startswith("Choose pictures")
    assert page.find_element(By.ID, "status").get_attribute("aria-live") == "polite"


def test_dark_and_light(page):
    colours = []
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        colours.append(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colours == ["rgb(251, 250, 247)", "rgb(22, 24, 27)"]


def test_reaches_nothing_else(page, colours, pictures):
    choose(page, pictures / "red.png")
    urls = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert urls
    assert all(url.startswith((colours.url, "blob:", "data:")) for url in urls)
    assert page.get_log("browser") == []
    policy = colours.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")


def test_checkpoint_without_its_folder(start, models):
    """What a file says about itself is shown to strangers: not where things were on the machine that exported it."""
    nodes = [
        helper.make_node("Softmax", ["features"], ["probabilities"]),
        helper.make_node("Identity", ["features"], ["logits"]),
    ]
    outputs = [value(name, ["batch", 3]) for name in ("probabilities", "logits")]
    path = write_model(
        models / "own.onnx",
        nodes,
        [value("features", ["batch", 3])],
        outputs,
        {},
        input="features",
        class_names=CLASSES,
        model="ViT-B-32",
        pretrained="/home/someone/secret/checkpoint.safetensors",
    )
    assert start(path).get("/model").json["encoder"] == "ViT-B-32 checkpoint.safetensors"


def test_file_that_takes_features(browser, trees):
    browser.get(trees.url)
    wait(browser, lambda: "takes features" in browser.find_element(By.ID, "status").text)
    assert not browser.find_element(By.ID, "file").is_enabled()


def test_key__is_asked_for_and_kept(browser, start, colours_onnx, pictures, tmp_path):
    (tmp_path / "keys").write_text("a-key")
    browser.get(start(colours_onnx, api_key_file=tmp_path / "keys").url)
    for key in ("wrong", "a-key"):
        wait(browser, lambda: alert_is_present()(browser))
        browser.switch_to.alert.send_keys(key)
        browser.switch_to.alert.accept()
    wait(browser, lambda: browser.find_element(By.ID, "name").text == "colours")
    (card,) = choose(browser, pictures / "red.png")
    assert card.find_element(By.TAG_NAME, "h2").text.startswith("red")


POST = """
const [url, body, headers, mode, done] = arguments;
fetch(url, { method: "POST", body, headers, mode }).then(
  async (response) => done([response.type, response.status, await response.text()]),
  (error) => done(["failed", 0, String(error)]),
);
"""


@pytest.fixture
def elsewhere(browser, trees):
    """A page of another origin: another port is one."""
    browser.get(f"{trees.url}/v2/health/live")
    browser.set_script_timeout(30)
    return browser


def test_other_origin__cannot_make_the_server_work(elsewhere, start, colours_onnx):
    """With all that a page may send without asking first, and with what it has to ask for."""
    server = start(colours_onnx)
    for path in ("/classify", "/v2/models/colours/infer", "/v2/repository/index"):
        for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
            for mode in ("cors", "no-cors"):
                kind, status, text = elsewhere.execute_async_script(POST, server.url + path, "{}", headers, mode)
                assert (kind, status, text[:9]) in (("failed", 0, "TypeError"), ("opaque", 0, ""))
    assert server.metric('ulfine_requests_total{code="403",where="elsewhere"}') >= 9
    for where in ("classify", "infer"):
        assert f'where="{where}"' not in server.get("/metrics").body.decode()


def test_other_origin__form(elsewhere, start, colours_onnx):
    """A form needs no script."""
    server = start(colours_onnx)
    form = f"<form method=post enctype=multipart/form-data action={server.url}/classify><input name=image></form>"
    elsewhere.get(f"data:text/html,{form}")
    elsewhere.find_element(By.TAG_NAME, "form").submit()
    wait(elsewhere, lambda: "null is not a page of this server" in elsewhere.page_source)
    assert 'where="classify"' not in server.get("/metrics").body.decode()


def test_other_origin__that_was_let_in(elsewhere, trees, start, colours_onnx):
    server = start(colours_onnx, cors_origin=[trees.url])
    item = {"name": "pixels", "shape": [0, 3, 8, 8], "datatype": "FP32", "data": []}
    body, headers = json.dumps({"inputs": [item]}), {"Content-Type": "application/json"}
    url = f"{server.url}/v2/models/colours/infer"
    kind, status, text = elsewhere.execute_async_script(POST, url, body, headers, "cors")
    assert (kind, status, json.loads(text)["model_name"]) == ("cors", 200, "colours")


def test_other_name__of_the_same_server(start, colours_onnx):
    """DNS rebinding: a page's own name points here, so that a browser takes the server for its own."""
    server = start(colours_onnx)
    port = server.address[1]
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP evil.example 127.0.0.1",
    ):
        options.add_argument(argument)
    rebound = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        rebound.get(f"http://evil.example:{port}/")
        assert "start it with --allowed-host" in rebound.page_source
        rebound.set_script_timeout(30)
        kind, status, text = rebound.execute_async_script(POST, "/classify", "x", {}, "cors")
        assert (kind, status) == ("basic", 421), text
    finally:
        rebound.quit()
