#!/usr/bin/env python3
"""Looks at HTML reports in headless Chromium: no error on the console, no request, nothing wider than a phone, every chart
drawn, tooltips and zoom at work. Saves pictures to look at: light, dark, phone.

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
    problems += page.evaluate(UNDRAWN)
    # A page of a run has data for its scripts; the others have their charts in them.
    if page.evaluate("Array.isArray(data_of_page())"):
        problems += definitions(page)
        if page.locator("[data-course]").count():
            problems += panels(page)
    return problems


# What should be drawn and is not. A chart without a shape, or a canvas of one colour, is empty.
UNDRAWN = """() => {
  window.data_of_page = () => JSON.parse(document.getElementById("data")?.textContent || "null");
  const problems = [];
  const shapes = (svg) => [...svg.querySelectorAll("path, rect, circle, line")].filter((it) => it.tagName !== "path" || it.getAttribute("d")).length;
  const drawn = (box, least, what) => {
    const charts = [...box.querySelectorAll("svg")];
    if (charts.length < least || charts.some((svg) => !shapes(svg))) problems.push(`${what} is not drawn`);
  };
  const data = data_of_page();
  const all = (name) => document.querySelectorAll(`[data-${name}]`);
  if (!Array.isArray(data)) {
    if (!document.querySelector(".chart svg")) problems.push("the page has no chart");
    document.querySelectorAll(".chart").forEach((box) => drawn(box, 1, "a chart"));
    return problems;
  }
  for (const name of ["spread", "course", "timeline"])
    if (all(name).length !== data.length) problems.push(`${data.length} workloads have data, and ${all(name).length} a ${name}`);
  all("spread").forEach((box) => drawn(box, data[box.dataset.spread].spread.length, "a distribution"));
  all("course").forEach((box) => drawn(box, 3, "a course"));
  all("timeline").forEach((box) => {
    if (!data[box.dataset.timeline].bars.length) return;
    const canvas = box.querySelector("canvas");
    const pixels = canvas && canvas.width ? new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer) : [];
    if (new Set(pixels).size < 3) problems.push("a timeline is not drawn");
  });
  return problems;
}"""


def definitions(page):
    term = page.locator(".tipped").first
    if not term.count():
        return ["no term has a definition"]
    term.hover()
    return ["a definition shows no tooltip"] if page.locator("#tip").is_hidden() else []


def panels(page):
    """Tooltip and zoom of the first panel over time."""
    panel = page.locator(".course svg").first
    if not panel.count():
        return ["there is no panel over time"]
    problems = []
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
