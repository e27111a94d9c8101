"""Report in a headless browser: tables, viewer, keyboard, phone, print. Skipped where there is no Chromium with its driver."""

import shutil
import time
from importlib.metadata import PackageNotFoundError, version

import pytest

WINDOW = (1200, 900)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--no-first-run", "--disable-quic", "--disable-sync", "--disable-component-update"),
    *("--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)


@pytest.fixture(scope="session")
def page(trained, source, command, tmp_path_factory):
    """Report of predictions of five made patients, as a file."""
    folder = tmp_path_factory.mktemp("report")
    out = folder / "predictions"
    words = ("--overlays", "false", "--probabilities", "true", "--out", out)
    assert command("evaluation.predict", "--runs", trained, "--source", source, *words).status == 0
    assert command("evaluation.score", "--predictions", out, "--source", source).status == 0
    done = command("evaluation.report", "--of", out, "--out", folder / "report.html")
    assert done.status == 0, done.err
    return folder / "report.html"


@pytest.fixture(scope="session")
def driver():
    """Headless Chromium with WebGL in software, without a network."""
    selenium = pytest.importorskip("selenium.webdriver")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no Chromium with its driver")
    options = selenium.ChromeOptions()
    for flag in (*FLAGS, "--window-size={},{}".format(*WINDOW)):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = selenium.Chrome(options=options, service=selenium.ChromeService(shutil.which("chromedriver")))
    yield opened
    opened.quit()


@pytest.fixture
def browser(driver, page):
    """The page, opened from the disk; at the end no error stands in the console."""
    driver.get(page.as_uri())
    yield driver
    assert [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def wait_for(browser, script, seconds=60):
    """Wait until a script returns something."""
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(f"return {script}")):
        assert time.monotonic() < end, f"{script}: still nothing"
        time.sleep(0.05)
    return found


def names(browser):
    """Patients of the rows that are shown, in their order."""
    rows = "[...document.querySelectorAll('[data-patients] tbody tr')]"
    return browser.execute_script(f"return {rows}.filter((row) => !row.hidden).map((row) => row.cells[0].textContent)")


def choose(browser, selector, value):
    script = "const box = document.querySelector(arguments[0]); box.value = arguments[1]"
    events = "for (const name of ['input', 'change']) box.dispatchEvent(new Event(name, {bubbles: true}))"
    browser.execute_script(f"{script}; {events}", selector, value)


def test_patients_are_sorted_and_filtered(browser):
    worst_first = names(browser)
    press = "document.querySelector('[data-patients] thead button').click()"
    browser.execute_script(press)
    assert names(browser) == sorted(worst_first)
    browser.execute_script(press)
    assert names(browser) == sorted(worst_first, reverse=True)
    choose(browser, "[data-find]", "case_3")
    assert names(browser) == ["case_3"]
    assert browser.find_element("css selector", "[data-count]").text.startswith("1 of 5 patients; mean WT")
    choose(browser, "[data-find]", "")
    choose(browser, "[data-attribute=grade]", "LGG")
    assert names(browser) == ["case_4", "case_3"]


def test_another_score_is_shown(browser):
    choose(browser, "[data-metric]", "hd95")
    hidden = "[...document.querySelectorAll('thead [data-of]')].filter((cell) => !cell.hidden).map((cell) => cell.dataset.of)"
    assert set(browser.execute_script(f"return {hidden}")) == {"hd95"}


def test_scans_are_shown_one_after_the_other(browser):
    try:
        version("ipyniivue")
    except PackageNotFoundError:
        pytest.skip("ipyniivue is not installed")
    browser.execute_script("document.getElementById('viewer').scrollIntoView()")
    wait_for(browser, "document.getElementById('viewer').dataset.shown === '0'")
    first = browser.find_element("id", "caption").text
    viewer = browser.find_element("id", "viewer")
    browser.execute_script("arguments[0].focus()", viewer)
    viewer.send_keys("n")
    wait_for(browser, "document.getElementById('viewer').dataset.shown === '1'")
    assert browser.find_element("id", "caption").text != first
    viewer.send_keys("tr2")
    for name in ("truth", "prediction", "probability"):
        assert browser.execute_script(f"return document.querySelector('[data-overlay={name}]').checked")
    assert browser.execute_script("return document.querySelector('[data-plane=axial]').ariaPressed") == "true"
    place = browser.find_element("id", "location").text
    viewer.send_keys("\ue013")  # arrow up
    assert browser.find_element("id", "location").text != place
    pixels = "document.getElementById('canvas').toDataURL().length"
    assert browser.execute_script(f"return {pixels}") > 2000


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(browser, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.refresh()
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(("scheme", "expected"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 26)")])
def test_it_is_light_and_dark(browser, scheme, expected):
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == expected
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_viewer_is_not_printed(browser):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element("id", "viewer").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
