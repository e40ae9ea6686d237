"""A headless Chromium that is used as a person does: read the page, and click on words."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from kpi_assets_tests.machine import PATIENCE

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

Found = TypeVar("Found")


class Browser:
    """One window, on the web UI at `address`."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver, self.address = driver, address

    @classmethod
    @contextmanager
    def open(cls, address: str, folder: Path, *more: str) -> Iterator["Browser"]:
        """Start the browser with a profile in `folder` and further command-line options."""
        assert BROWSER
        assert DRIVER
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        words = [
            "--headless=new",
            "--window-size=1500,1200",
            "--disable-dev-shm-usage",
            "--force-prefers-reduced-motion",  # a picture within a transition shows two pages
            f"--user-data-dir={folder}",
            *more,
        ]
        if os.geteuid() == 0:
            words.append("--no-sandbox")  # Chromium refuses to run as root with a sandbox
        for word in words:
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        driver = webdriver.Chrome(options, Service(DRIVER))
        try:
            yield cls(driver, address)
        finally:
            driver.quit()

    def go(self, path: str) -> None:
        """Open a page."""
        self.driver.get(f"{self.address}{path}")

    def leave(self) -> None:
        """Leave the page, which takes as much of the processor as the run that it shows."""
        self.driver.get("about:blank")

    def network(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the network events since the last call, as (method, params) of Chromium's protocol."""
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [(entry["method"], entry["params"]) for entry in entries if entry["method"].startswith("Network.")]

    @property
    def text(self) -> str:
        """Return the visible text of the page."""
        text: str = self.driver.execute_script("return document.body.innerText")
        return text

    def wait(self, what: str, find: Callable[[], Found]) -> Found:
        """Wait until the result of `find` is true, and return it."""
        waiting = WebDriverWait(self.driver, PATIENCE, 0.1, ignored_exceptions=[StaleElementReferenceException])
        try:
            return waiting.until(lambda _: find())
        except WebDriverException:
            raise AssertionError(f"{what} did not come to be on {self.driver.current_url}:\n{self.text}") from None

    def read(self, *words: str) -> None:
        """Wait until all the words are on the page."""
        self.wait(" and ".join(words), lambda: all(word in self.text for word in words))

    def click(self, words: str, kind: str = "button") -> None:
        """Click on the first element of that kind that contains the words, as soon as it can be clicked."""
        path = f"//{kind}[contains(normalize-space(.), '{words}')]"

        def clicked() -> bool:
            for found in self.driver.find_elements(By.XPATH, path):
                if found.is_displayed() and found.is_enabled():
                    found.click()
                    return True
            return False

        self.wait(f"a {kind} {words!r}", clicked)

    def write(self, text: str) -> None:
        """Replace the text in the only field of the open dialog."""

        def field() -> WebElement | None:
            found = self.driver.find_elements(By.CSS_SELECTOR, ".dagster-dialog input[type=text]")
            return found[0] if found and found[0].is_displayed() else None

        found = self.wait("a field", field)
        assert found
        found.click()
        found.send_keys(Keys.CONTROL, "a")
        found.send_keys(text, Keys.TAB)

    def launch(self, pipeline: str, partitions: str, button: str) -> None:
        """Launch a whole pipeline from the page of its job, and follow the link to the run or backfill."""
        self.go(f"/locations/kpi_assets/jobs/{pipeline}")
        self.click("Materialize all")
        self.click("Show all partitions")
        self.write(partitions)
        self.click(button)
        self.click("View", "*[self::a or self::button][not(contains(., 'assets'))]")

    def launch_run(self, pipeline: str, partition: str) -> str:
        """Launch a whole pipeline for one partition; return the id of the run whose page then opens."""
        self.launch(pipeline, partition, "Launch 1 run")
        self.wait("the run's page", lambda: "/runs/" in self.driver.current_url)
        return self.driver.current_url.split("/runs/")[1][:36]

    def rows(self) -> dict[str, str]:
        """Return the rows of the page's tables that have a name and a value, with or without a time between them."""
        cells = [row.find_elements(By.TAG_NAME, "td") for row in self.driver.find_elements(By.TAG_NAME, "tr")]
        return {row[0].text: row[-1].text for row in cells if len(row) in (2, 3)}
