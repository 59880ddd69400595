"""The page by which a person tries a model, in a browser."""

import shutil

import pytest
import tensorflow as tf

from tests.serving.served import LENGTH, ServedTest, publish

_BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
# No sandbox, which root may not have; and no talk with anyone.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_NARROW = {"width": 360, "height": 640}

pytestmark = pytest.mark.slow


@pytest.mark.skipif(_BROWSER is None, reason="there is no Chromium")
class PageTest(ServedTest):
    flags = ("--versions=2",)

    def setUp(self):
        super().setUp()
        from playwright import sync_api

        driver = self.enterContext(sync_api.sync_playwright())
        browser = driver.chromium.launch(executable_path=_BROWSER, args=_FLAGS)
        self.addCleanup(browser.close)
        self.page = browser.new_page(viewport=_NARROW)
        self.page.set_default_timeout(60_000)  # of a machine with much to do
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(error))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else 0)

    def test_a_person_generates_and_scores_by_keyboard_on_a_phone(self):
        page = self.page
        page.goto(self.server.rest)
        page.get_by_text(f"5 symbols (x + - * /), length {LENGTH}").wait_for()
        page.get_by_label("Prefix").fill("x+")
        page.get_by_label("Sequences").fill("3")
        page.get_by_label("Seed").fill("4")
        page.keyboard.press("Enter")
        page.locator("#rows li").nth(2).wait_for()
        expected = self._expected([4, 5, 6], prefix="x+")
        texts = page.locator("#rows .text").all_inner_texts()
        self.assertEqual(texts, [text.decode() for text in expected["text"]])
        numbers = page.locator("#rows .numbers").first
        self.assertIn(f"log p = {expected['log_prob'][0]:.2f}, p(real) = 0.", numbers.inner_text())
        page.locator("#rows li").first.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        of_token = f"token 3, {texts[0][2]}: log p = {expected['token_log_probs'][0, 2]:.3f}"
        self.assertIn(of_token, numbers.inner_text())
        self.assertIn('"seed": np.arange(4, 7)', page.locator("#python").inner_text())

        page.get_by_role("textbox", name="Text").fill(texts[0])
        page.keyboard.press("Enter")
        page.locator("#rows li:only-child").wait_for()
        score = self.loaded["score"](text=tf.constant([texts[0]]))["log_prob"][0]
        self.assertIn(f"log p = {score:.2f}", numbers.inner_text())
        page.get_by_role("textbox", name="Text").fill("x?")
        page.keyboard.press("Enter")
        page.get_by_text(f"The text must be exactly {LENGTH} known symbols").wait_for()
        self.assertEqual(page.locator("#rows li").count(), 0)
        wide = page.evaluate("document.documentElement.scrollWidth")
        self.assertLessEqual(wide, _NARROW["width"])

        publish(self.directory, seed=1)
        page.get_by_role("option", name="2 (newest)").wait_for(state="attached")
        for version, is_same in (("2", False), ("1", True)):
            page.get_by_label("Version").select_option(version)
            page.get_by_role("button", name="Generate").click()
            page.locator("#rows li").nth(2).wait_for()
            found = page.locator("#rows .text").all_inner_texts()
            self.assertEqual(found == texts, is_same)
            page.get_by_role("textbox", name="Text").fill("x?")  # clears the rows
            page.keyboard.press("Enter")
            page.locator("#rows li").first.wait_for(state="detached")
        self.assertEqual(self.errors, [])


if __name__ == "__main__":
    tf.test.main()
