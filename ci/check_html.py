#!/usr/bin/env python3
"""Looks at HTML reports in headless Chromium: no error on the console, no request, nothing wider than a phone, tooltips
and zoom at work. Saves pictures to look at: light, dark, phone.

    pip install playwright      # its own browser is not needed
    python3 ci/check_html.py --chromium /usr/bin/chromium --pictures FOLDER report.html ...
"""

import argparse
import pathlib
import sys

from playwright.sync_api import sync_playwright


def check(browser, file, pictures):
    problems = []

    def opened(scheme, width, **options):
        page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844}, **options).new_page()
        page.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else problems.append(sent.url))
        page.goto(file.resolve().as_uri())
        page.wait_for_timeout(300)
        return page

    looks = {"light": ("light", 1200, {}), "dark": ("dark", 1200, {}), "phone": ("light", 390, {"has_touch": True, "is_mobile": True})}
    for name, (scheme, width, options) in looks.items():
        page = opened(scheme, width, **options)
        page.screenshot(path=pictures / f"{file.stem}-{name}.png", full_page=True)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            problems.append(f"{name}: wider than the window")
    page = opened("light", 1200)
    term = page.locator(".tipped").first
    if term.count():
        term.hover()
        if page.locator("#tip").is_hidden():
            problems.append("a definition shows no tooltip")
    panel = page.locator(".course svg").first
    if panel.count():
        panel.scroll_into_view_if_needed()
        page.wait_for_timeout(200)
        box = panel.bounding_box()
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 300, y, steps=3)
        page.wait_for_timeout(100)
        if page.locator("#tip").is_hidden():
            problems.append("a panel shows no tooltip")
        def axis():
            return panel.locator("text").all_text_contents()

        whole = axis()
        page.mouse.down()
        page.mouse.move(box["x"] + 420, y, steps=4)
        page.mouse.up()
        page.wait_for_timeout(200)
        if axis() == whole:
            problems.append("dragging does not zoom")
        page.get_by_role("button", name="everything").first.click()
        page.wait_for_timeout(200)
        if axis() != whole:
            problems.append("zooming out does not show everything")
    return problems


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("files", nargs="+", type=pathlib.Path)
    options.add_argument("--chromium", default="/usr/bin/chromium")
    options.add_argument("--pictures", type=pathlib.Path, default=pathlib.Path("."))
    given = options.parse_args()
    given.pictures.mkdir(parents=True, exist_ok=True)
    failed = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        for file in given.files:
            problems = check(browser, file, given.pictures)
            print(f"{file}: {'; '.join(problems) or 'good'}")
            failed = failed or bool(problems)
    sys.exit(failed)


main()
