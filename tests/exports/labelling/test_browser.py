"""The page in a real browser, by keys and clicks."""

import csv
import http.server
import threading

import pytest

from tests.exports.pages.headless import CHROMIUM, DRIVER, headless
from ulfine_cache.labelling.decisions import read_decisions

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: apt-get install chromium chromium-driver"
)

SHAPES = ("circle", "square", "triangle")


@pytest.fixture(scope="module")
def browser():
    with headless("1280,800", ["browser"]) as browser:
        browser.set_script_timeout(30)
        yield browser


class Person:
    """Somebody at the page: presses keys, clicks, reads what is there."""

    def __init__(self, browser):
        self.browser = browser

    def opens(self, url):
        self.browser.get(url)
        self.waits_until(lambda: self.find("#queue option") is not None and self.is_idle())
        self.browser.get_log("browser")
        return self

    def waits_until(self, condition):
        WebDriverWait(self.browser, 30, poll_frequency=0.02).until(lambda _: condition())

    def is_idle(self):
        script = """
        const shown = ["single", "many", "end"].some((id) => !document.getElementById(id).hidden);
        return !document.body.dataset.busy && shown;
        """
        return self.browser.execute_script(script)

    def find(self, selector):
        found = self.browser.find_elements(By.CSS_SELECTOR, selector)
        return found[0] if found else None

    def text(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector).text

    def presses(self, *keys):
        for key in keys:
            self.browser.find_element(By.TAG_NAME, "body").send_keys(key)
            self.waits_until(self.is_idle)

    def types(self, text, *, enters=1):
        """Into the field that has the focus."""
        field = self.browser.switch_to.active_element
        field.send_keys(text)
        for _ in range(enters):
            field.send_keys(Keys.ENTER)
        self.waits_until(self.is_idle)

    def chooses(self, element, value):
        Select(self.browser.find_element(By.ID, element)).select_by_value(value)
        self.waits_until(self.is_idle)

    def clicks(self, selector):
        self.browser.find_element(By.CSS_SELECTOR, selector).click()
        self.waits_until(self.is_idle)

    @property
    def row(self):
        return int(self.browser.find_element(By.ID, "picture").get_attribute("data-row"))

    @property
    def path(self):
        return self.text("#caption").partition(" · ")[0]

    @property
    def offered(self):
        return [each.text for each in self.browser.find_elements(By.CSS_SELECTOR, "#answers .name")]


@pytest.fixture
def person(browser, page):
    return Person(browser).opens(page.url)


@pytest.fixture
def labels(tmp_path):
    return lambda: dict(read_decisions(tmp_path / "labels.csv").labels)


def shape_in(path):
    return next(shape for shape in SHAPES if shape in path)


def test_opens(person):
    assert person.browser.current_url.endswith("/")
    assert "token" not in person.browser.current_url
    assert person.browser.title == "Label · ulfine"
    assert person.text("#progress") == "0 decisions now · 63 images, 36 unlabelled"
    assert len(person.offered) == 3
    assert person.find("#picture").get_property("naturalWidth") == 90 or person.waits_until(
        lambda: person.find("#picture").get_property("naturalWidth") == 90
    )
    assert person.browser.get_log("browser") == []


def test_twenty_by_keys(person, labels):
    """Each is in the file before the next picture shows."""
    wanted = {}
    for number in range(20):
        path, name = person.path, shape_in(person.path)
        person.presses(str(person.offered.index(name) + 1))
        wanted[path] = name
        assert person.path != path
        assert labels() == wanted
        assert person.text("#progress").startswith(f"{number + 1} decision")
    assert "an hour" in person.text("#progress")
    assert person.text("#progress").endswith("63 images, 16 unlabelled")


def test_undo_skip_and_no_class(person, labels):
    first = person.path
    person.presses("s")
    second = person.path
    person.presses("1", "x")
    assert list(labels()) == [second, *list(labels())[1:]]
    assert list(labels().values())[1] == ""
    person.presses("u", "u")
    assert person.path == second
    assert person.text("#label-now") == "Unlabelled"
    assert "Taken back" in person.text("#message")
    assert person.find("#undo").get_property("disabled")
    person.presses(Keys.ARROW_LEFT)
    assert person.path == first
    assert set(labels().values()) == {""}


def test_new_class(person, labels):
    path = person.path
    person.presses("n")
    person.types("grey heron")
    assert "is a new class: Enter again makes it" in person.text("#name-hint")
    assert labels() == {}
    person.types("", enters=1)
    assert labels() == {path: "grey heron"}
    assert person.path != path
    # It is known now: once is enough.
    second = person.path
    person.presses("n")
    person.types("grey heron")
    assert labels() == {path: "grey heron", second: "grey heron"}
    third = person.path
    person.presses("n")
    person.types("nan", enters=2)
    assert "means that there is no class" in person.text("#message")
    assert third not in labels()


def test_confirming_a_label(person, labels):
    person.chooses("queue", "disagreement")
    path, label = person.path, person.text("#label-now").removeprefix("Now: ")
    person.presses(Keys.ENTER)
    assert labels() == {path: label}
    person.chooses("queue", "disagreement")
    assert person.path != path
    person.chooses("queue", "least-sure")
    person.presses(Keys.ENTER)
    assert person.text("#message") == "It has no label yet: choose one."


def test_twenty_at_once(person, labels, page):
    person.chooses("queue", "most-sure")
    person.chooses("class", "square")
    person.presses("g")
    tiles = person.browser.find_elements(By.CSS_SELECTOR, ".tile")
    assert 0 < len(tiles) <= 20
    assert "of the class “square”" in person.text("#ask")
    tiles[0].click()
    assert tiles[0].get_attribute("aria-pressed") == "false"
    rows = [int(tile.get_attribute("data-row")) for tile in tiles]
    person.presses(Keys.ENTER)
    assert len(labels()) == len(tiles) - 1
    assert set(labels().values()) == {"square"}
    assert page.get("/state")["decided"] == len(rows) - 1
    # Together they were decided, and together they are taken back.
    person.presses("u")
    assert set(labels().values()) == {""}
    assert page.get("/state")["decided"] == 0


def test_more_like_this_and_words(person):
    row = person.row
    person.presses("m")
    assert person.row == row
    person.presses("/")
    person.types("a photo of a circle")
    assert person.path
    person.presses("g")
    assert len(person.browser.find_elements(By.CSS_SELECTOR, ".tile")) == 20


def test_like_a_picture_from_elsewhere(person, page, shapes_cache):
    picture = next((shapes_cache.parent / "photos" / "test" / "square").glob("*.png"))
    person.browser.find_element(By.ID, "file").send_keys(str(picture))
    person.waits_until(lambda: person.is_idle() and person.path == f"test/square/{picture.name}")


def test_refit(person, page):
    for _ in range(36):
        name = shape_in(person.path)
        person.presses(str(person.offered.index(name) + 1))
    assert person.find("#end").is_displayed()
    person.clicks("#refit")
    person.waits_until(lambda: "Fitted with 36 decided images" in person.text("#refitted") and person.is_idle())
    said = person.text("#refitted")
    assert "answers of 63 changed" in said or "answer of 63 changed" in said
    assert "Accuracy " in said and " before, " in said and "(12 test rows)" in said
    person.browser.find_element(By.CSS_SELECTOR, "#refitted button").click()
    assert not person.find("#refitted").is_displayed()
    person.chooses("queue", "changed")
    changed = page.get("/state")["refit"]["figures"]["changed"]
    assert (changed == 0) == person.find("#end").is_displayed()


def test_killed__goes_on(browser, process, labels, tmp_path):
    """SIGKILL at once after a decision was shown as made: nothing is lost, and what is decided does not come again."""
    first = process()
    person = Person(browser).opens(first.page.url)
    person.presses("1", "1", "1")
    waiting = person.path
    first.kill()
    person.browser.find_element(By.TAG_NAME, "body").send_keys("1")
    person.waits_until(lambda: "does not answer" in person.text("#message"))
    assert person.path == waiting
    assert len(labels()) == 3
    with (tmp_path / "labels.csv").open("ab") as file:
        file.write(b"train/unlabelled/cir")
    second = process()
    assert any("cut off" in line for line in second.lines)
    assert any("3 decided images: going on" in line for line in second.lines)
    person = Person(browser).opens(second.page.url)
    assert person.path == waiting
    person.presses("u")
    assert len([label for label in labels().values() if label]) == 2
    with (tmp_path / "labels.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4


def test_wrong_token(browser, page):
    browser.delete_all_cookies()
    browser.get(page.url[:-1] + ("A" if page.url[-1] != "A" else "B"))
    assert "opens by the address that `ulfine label` printed" in browser.page_source
    browser.get(page.url.partition("?")[0])
    assert "opens by the address that `ulfine label` printed" in browser.page_source


POST = """
const [url, body, headers, mode, done] = arguments;
fetch(url, { method: "POST", body, headers, mode, credentials: "include" }).then(
  async (response) => done([response.type, response.status, await response.text()]),
  (error) => done(["failed", 0, String(error)]),
);
"""


READ = "fetch(arguments[0], {credentials: 'include'}).then(() => arguments[1]('read'), () => arguments[1]('refused'))"


def test_other_page(browser, page, elsewhere, labels):
    """A page of another port of this machine, whose requests carry the cookie: neither writes nor reads."""
    Person(browser).opens(page.url)
    browser.get(elsewhere)
    base = page.url.partition("?")[0]
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
        for mode in ("cors", "no-cors"):
            kind, status, text = browser.execute_async_script(
                POST, f"{base}decide", '{"rows": [0], "label": "square"}', headers, mode
            )
            assert (kind, status) in (("failed", 0), ("opaque", 0)), text
    assert browser.execute_async_script(READ, f"{base}state") == "refused"
    assert labels() == {}


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Any other origin will do."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<p>elsewhere</p>")

    def log_message(self, format, *args):
        pass


@pytest.fixture
def elsewhere():
    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_dark_and_light(person):
    colours = []
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        person.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        colours.append(person.browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    person.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colours == ["rgb(251, 250, 247)", "rgb(22, 24, 27)"]


def test_reaches_nothing_else_and_fits(person, page):
    person.presses("1", "g", "g", "?")
    urls = person.browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    base = page.url.partition("?")[0]
    assert urls and all(url.startswith((base, "blob:", "data:")) for url in urls)
    assert person.browser.get_log("browser") == []
    wide, inner = person.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
