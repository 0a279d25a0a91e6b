// The requests of a workload as bars on a canvas, in rows such that those in one row do not overlap: the rows in use at a
// moment are the requests in flight.
// Left and right lie where they do in the panels over time above.
const GAP = 1, AXIS = 22, LEFT = 56, RIGHT = 18;
const failed = (bar) => !["success", "censored"].includes(bar.outcome);

function intoRows(bars) {
  const ends = [];
  for (const bar of bars) {
    bar.begin = Math.min(bar.scheduled, bar.sent);
    bar.finish = Math.max(bar.end, bar.begin + 1);
  }
  for (const bar of [...bars].sort((one, two) => one.begin - two.begin)) {
    let row = ends.findIndex((end) => end <= bar.begin);
    if (row < 0) row = ends.length;
    ends[row] = bar.finish;
    bar.row = row;
  }
  return Math.max(1, ends.length);
}

function timeline(parent, stretch, data) {
  const bars = data.bars;
  const rows = intoRows(bars);
  const keys = el("div", { class: "bar" });
  for (const [name, colour] of [["waits in the client", "queue"], ["to the first token", "prefill"], ["tokens", "decode"], ["failed", "bad"]])
    keys.append(el("span", { class: "key", style: `--k: var(--${colour})` }, el("span", {}, name)));
  const button = (text, title, action) => { const it = el("button", { type: "button", title }, text); it.addEventListener("click", action); keys.append(it); };
  const middle = () => (stretch.from + stretch.to) / 2;
  button("+", "Zoom in", () => stretch.zoom(0.5, middle()));
  button("−", "Zoom out", () => stretch.zoom(2, middle()));
  button("◂", "Earlier", () => stretch.move((stretch.from - stretch.to) / 3));
  button("▸", "Later", () => stretch.move((stretch.to - stretch.from) / 3));
  button("everything", "Show the whole run", () => stretch.reset());
  const canvas = el("canvas", { "aria-label": "Timeline of the requests" });
  const spacer = el("div");
  const frame = el("div", { class: "window", tabindex: "0" }, canvas, spacer);
  parent.append(keys, frame, el("p", { class: "note" }, "Each bar is a request. Ctrl and the wheel, two fingers or the buttons zoom, dragging moves; from near, every token has its mark."));

  const most = matchMedia("(max-width: 560px)").matches ? 320 : 380;
  const height = clamp(rows * 14 + AXIS + 6, 56, most);
  frame.style.height = height + "px";
  // Few rows are high enough to read, many can be scrolled.
  const step = clamp((height - AXIS - 2) / rows, 5, 16);
  spacer.style.height = Math.max(0, rows * step + AXIS - height + 2) + "px";
  const colours = () => { const style = getComputedStyle(document.documentElement); return (name) => style.getPropertyValue("--" + name).trim(); };
  let width = 0, placed = [];
  const room = () => Math.max(1, width - LEFT - RIGHT);
  const x = (micros) => LEFT + room() * (micros / 1e6 - stretch.from) / (stretch.to - stretch.from);

  function draw() {
    width = frame.clientWidth;
    if (!width) return;
    const ratio = devicePixelRatio || 1, tall = height - 2;
    canvas.width = width * ratio; canvas.height = tall * ratio;
    canvas.style.width = width + "px"; canvas.style.height = tall + "px";
    const context = canvas.getContext("2d"), colour = colours();
    context.scale(ratio, ratio);
    context.clearRect(0, 0, width, tall);
    context.font = "11px system-ui, sans-serif";
    const top = frame.scrollTop;
    placed = [];
    const rect = (from, to, y, name, high) => {
      const left = Math.max(LEFT - 1, x(from)), right = Math.min(width - RIGHT + 1, x(to));
      if (right < LEFT || left > width - RIGHT || right < left) return;
      context.fillStyle = colour(name);
      context.fillRect(left, y, Math.max(right - left, 0.6), high);
    };
    for (const bar of bars) {
      const y = AXIS + bar.row * step - top, high = step - GAP;
      if (y + high < AXIS || y > tall || x(bar.finish) < LEFT || x(bar.begin) > width - RIGHT) continue;
      placed.push([bar, y]);
      if (bar.sent > bar.scheduled) rect(bar.scheduled, bar.sent, y, "queue", high);
      if (failed(bar)) { rect(bar.sent, bar.end, y, "bad", high); continue; }
      const first = bar.first ?? bar.end;
      rect(bar.sent, first, y, "prefill", high);
      if (bar.first === null) continue;
      rect(first, bar.last, y, "decode", high);
      const apart = bar.ticks.length ? (x(bar.last) - x(first)) / bar.ticks.length : 0;
      if (apart >= 4) {
        context.fillStyle = colour("tick");
        let at = first;
        for (const gap of [0, ...bar.ticks]) { at += gap; const place = x(at); if (place >= LEFT && place <= width - RIGHT) context.fillRect(place - 0.5, y, 1, high); }
      }
    }
    context.fillStyle = colour("panel");
    context.fillRect(0, 0, width, AXIS - 2);
    context.strokeStyle = colour("line");
    context.fillStyle = colour("muted");
    context.textAlign = "center";
    for (const time of ticks(stretch.from, stretch.to, clamp(width / 110, 3, 9))) {
      const place = x(time * 1e6);
      context.beginPath(); context.moveTo(place, AXIS - 5); context.lineTo(place, AXIS - 2); context.stroke();
      context.fillText(seconds(time), place, 12);
    }
  }
  stretch.followers.push(draw);
  new ResizeObserver(draw).observe(frame);
  frame.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", draw);
  addEventListener("afterprint", () => setTimeout(draw));

  const timeAt = (px) => stretch.from + (stretch.to - stretch.from) * (px - LEFT) / room();
  const within = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  // A wheel alone scrolls, as everywhere.
  canvas.addEventListener("wheel", (event) => {
    if (!(event.ctrlKey || event.metaKey || event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) stretch.zoom(Math.exp(event.deltaY / 250), timeAt(within(event)[0]));
    else stretch.move((stretch.to - stretch.from) * (event.deltaX || event.deltaY) / room());
  }, { passive: false });
  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => { fingers.set(event.pointerId, event.clientX); canvas.setPointerCapture(event.pointerId); canvas.classList.add("dragging"); });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = within(event);
    if (fingers.has(event.pointerId)) {
      hideTip();
      const former = [...fingers.values()];
      const before = fingers.get(event.pointerId);
      fingers.set(event.pointerId, event.clientX);
      const now = [...fingers.values()];
      if (now.length === 1) stretch.move((before - event.clientX) * (stretch.to - stretch.from) / room());
      else {
        const apart = (list) => Math.max(10, Math.abs(list[0] - list[1]));
        stretch.zoom(apart(former) / apart(now), timeAt((now[0] + now[1]) / 2 - canvas.getBoundingClientRect().left));
      }
      return;
    }
    const at = timeAt(px) * 1e6, slack = 2 * (stretch.to - stretch.from) * 1e6 / room();
    const found = placed.find(([bar, y]) => py >= y && py <= y + step && at >= bar.begin - slack && at <= bar.finish + slack);
    if (!found) return hideTip();
    const bar = found[0];
    const lines = [`request ${bar.id}: ${bar.outcome.replace("_", " ")}`, `sent at ${seconds(bar.sent / 1e6)}`];
    if (bar.sent > bar.scheduled) lines.push(`waited in the client: ${millis(bar.sent - bar.scheduled)}`);
    if (bar.first !== null) lines.push(`TTFT: ${millis(bar.first - bar.sent)}`, `E2E: ${millis(bar.last - bar.sent)}`);
    else lines.push(`ended after ${millis(bar.end - bar.sent)}`);
    lines.push(`tokens: ${bar.input} in, ${bar.output} out`);
    showTip(lines.join("\n"), event.clientX, event.clientY);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(name, (event) => { fingers.delete(event.pointerId); if (!fingers.size) canvas.classList.remove("dragging"); });
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("dblclick", () => stretch.reset());
  frame.addEventListener("keydown", (event) => {
    const keys = { "+": () => stretch.zoom(0.5, middle()), "-": () => stretch.zoom(2, middle()), ArrowLeft: () => stretch.move((stretch.from - stretch.to) / 6), ArrowRight: () => stretch.move((stretch.to - stretch.from) / 6), "0": () => stretch.reset() };
    if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
  });
  draw();
}

const page = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll("[data-spread]").forEach((box) => page[box.dataset.spread].spread.forEach((spread, nth) => spreadChart(box, spread, "abc"[nth])));
document.querySelectorAll("[data-course]").forEach((box, nth) => {
  const data = page[box.dataset.course], course = data.course;
  const begins = course.in_flight.map((_, place) => place * course.width);
  const end = Math.max(course.width * course.in_flight.length, ...data.bars.map((bar) => bar.end / 1e6));
  const last = data.bars.reduce((most, bar) => Math.max(most, bar.end / 1e6), 0);
  const stretch = new Stretch(data.bars.length && last > 0 && data.requests === data.bars.length ? last : end);
  const options = (id, more = {}) => ({ width: course.width, id: `${id}-${nth}`, ...more });
  const done = data.bars.filter((bar) => bar.outcome === "success" && bar.first !== null);
  const ttft = done.length < 100 && data.requests === data.bars.length ? [] : [{ name: "mean", colour: "a", at: begins, values: course.ttft_mean, steps: true }];
  if (data.requests === data.bars.length) ttft.unshift({ name: "each request", colour: ttft.length ? "b" : "a", at: done.map((bar) => bar.sent / 1e6), values: done.map((bar) => (bar.first - bar.sent) / 1e3), dots: true });
  else ttft.unshift({ name: "largest", colour: "b", at: begins, values: course.ttft_max, steps: true });
  timePanel(box, stretch, "TTFT by time of sending", "ms", ttft, options("ttft"));
  timePanel(box, stretch, "Output tokens per second", "tokens/s", [{ name: "all requests", colour: "d", at: begins, values: course.tokens, steps: true }], options("tokens"));
  const flight = [{ name: "in flight", colour: "c", at: begins, values: course.in_flight, steps: true }];
  const read = data.server.map((sample) => sample.at / 1e6);
  if (data.server.some((sample) => sample.waiting !== null)) flight.push({ name: "waiting in its queue", colour: "b", at: read, values: data.server.map((sample) => sample.waiting) });
  timePanel(box, stretch, "Requests in flight", "requests", flight, options("flight"));
  // A cache that is nearly empty is shown from near.
  const full = data.server.some((sample) => sample.kv > 0.25) ? { top: 1 } : {};
  if (data.server.some((sample) => sample.kv !== null)) timePanel(box, stretch, "KV cache in use", "share", [{ name: "of its capacity", colour: "d", at: read, values: data.server.map((sample) => sample.kv) }], options("kv", { ...full, percent: true }));
  else box.append(el("p", { class: "note" }, "KV cache over time: not known; nothing that was measured told it during the run."));
  const place = document.querySelector(`[data-timeline="${box.dataset.course}"]`);
  if (data.bars.length) timeline(place, stretch, data);
  else place.append(el("p", { class: "note" }, "No request was sent."));
});
