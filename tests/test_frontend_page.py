"""The frontend's page in a browser: service up, service down, service back."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from loading import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome

pytestmark = [pytest.mark.cargo, pytest.mark.browser]

SCREENSHOTS = ROOT / ".cache" / "screenshots"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(binary: Path, port: int, **env: str) -> Iterator[None]:
    """Run a server until the end of the block; it is ready when the block begins."""
    env = {"LISTEN_ADDR": f"127.0.0.1:{port}", "RUST_LOG": "warn", **env}
    with subprocess.Popen([binary], env=env, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                check = subprocess.run([binary, "healthcheck"], env=env, stderr=subprocess.DEVNULL, check=False)
                if check.returncode == 0:
                    break
                time.sleep(0.05)
            assert check.returncode == 0
            yield
        finally:
            process.terminate()
            assert process.wait(15) == 0


@pytest.fixture(scope="module")
def binaries(bake: Callable[..., Path], cargo_env: dict[str, str]) -> dict[str, Path]:
    command = ["cargo", "build", "--locked", "--workspace", "--message-format", "json"]
    output = subprocess.run(command, cwd=bake(frontend=True), env=cargo_env, stdout=subprocess.PIPE, check=True).stdout
    messages = [json.loads(line) for line in output.splitlines()]
    found = {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}
    return {name: ROOT / path for name, path in found.items()}


@pytest.fixture
def browser() -> Iterator[Chrome]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=900,640"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def text(browser: Chrome, name: str) -> str:
    return str(browser.execute_script("return document.getElementById(arguments[0]).textContent", name))


def wait_for(browser: Chrome, state: str) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 15, 0.1).until(lambda driver: text(driver, "state-text") == state)


def screenshot(browser: Chrome, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


def test_the_page_follows_the_service(binaries: dict[str, Path], browser: Chrome) -> None:
    service, page = free_port(), free_port()
    url = f"http://127.0.0.1:{page}/"
    with running(binaries["frontend"], page, BACKEND_URL=f"http://127.0.0.1:{service}"):
        with running(binaries["backend"], service):
            browser.get(url)
            wait_for(browser, "Ready")
            assert text(browser, "name") == "backend"
            assert text(browser, "version").startswith("0.1.0")
            assert text(browser, "platform").startswith("linux/")
            before = text(browser, "uptime")
            time.sleep(2.5)
            assert text(browser, "uptime") != before
            assert text(browser, "frontend").startswith("frontend 0.1.0")
            screenshot(browser, "up")

        wait_for(browser, "Unreachable")
        assert text(browser, "uptime") == "\N{EN DASH}"
        assert text(browser, "name") == "backend"
        screenshot(browser, "down")
        with pytest.raises(HTTPError) as raised:
            urlopen(f"{url}api/info")
        with raised.value as response:
            assert response.code == 502
            assert response.read() == b"the service cannot be reached\n"

        with running(binaries["backend"], service):
            wait_for(browser, "Ready")
            screenshot(browser, "back")

        script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        assert all(name.startswith(url) for name in browser.execute_script(script))
        problems = [entry for entry in browser.get_log("browser") if "/api/" not in entry["message"]]
        assert not problems


def test_the_page_is_dark_where_people_want_that(binaries: dict[str, Path], browser: Chrome) -> None:
    service, page = free_port(), free_port()
    backend_url = f"http://127.0.0.1:{service}"
    with (
        running(binaries["backend"], service),
        running(binaries["frontend"], page, BACKEND_URL=backend_url),
    ):
        colours = {}
        for scheme in ("light", "dark"):
            feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
            browser.get(f"http://127.0.0.1:{page}/")
            wait_for(browser, "Ready")
            colours[scheme] = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            screenshot(browser, scheme)
        assert colours["light"] != colours["dark"]
