"use strict";
// What all charts share: tooltips, axes, and SVG drawn as text. A chart is drawn anew at every size.
const el = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const number = (value, digits = 3) => {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return (value / 1e6).toPrecision(3) + "M";
  if (size >= 1e4) return Math.round(value).toString();
  if (size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(size >= 1000 ? digits + 1 : digits)));
};
// Values along an axis in words, with as many digits as tell them apart.
function numbers(values) {
  const told = (digits) => values.map((value) => number(value, digits));
  let digits = 3;
  while (digits < 9 && new Set(told(digits)).size < values.length) digits++;
  return told(digits);
}
const seconds = (value) => `${number(Math.round(value * 1e6) / 1e6)} s`;
const millis = (micros) => `${number(micros / 1000)} ms`;

const tip = document.getElementById("tip");
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = clamp(x + 14, 8, innerWidth - box.width - 8) + "px";
  tip.style.top = (y + 18 + box.height > innerHeight ? Math.max(8, y - box.height - 12) : y + 18) + "px";
}
const hideTip = () => { tip.hidden = true; };
function tipOf(event) {
  const target = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
  if (!target) return;
  const box = target.getBoundingClientRect();
  showTip(target.dataset.tip, box.left, box.bottom - 10);
}
for (const name of ["pointerover", "focusin", "click"]) document.addEventListener(name, tipOf);
document.addEventListener("pointerout", (event) => { if (event.target instanceof Element && event.target.closest("[data-tip]")) hideTip(); });
document.addEventListener("focusout", hideTip);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
addEventListener("scroll", hideTip, { passive: true });

// Round values from low to high, about `count` of them.
function ticks(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw * 0.999);
  const list = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) list.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return list;
}
function logTicks(low, high) {
  const list = [];
  const few = Math.log10(high / low) > 2.5;
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const factor of few ? [1] : [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) list.push(value);
    }
  return list.length > 1 ? list : [low, high];
}

// A drawing that follows the width of its box.
function drawn(box, draw) {
  let width = 0;
  const now = () => { if (box.clientWidth && box.clientWidth !== width) draw(width = box.clientWidth); };
  new ResizeObserver(now).observe(box);
  now();
  return () => { if (width) draw(width); };
}
const line = (x1, y1, x2, y2, colour) => `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="var(--${colour})"/>`;
const label = (x, y, anchor, text) => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${text}</text>`;
const path = (points, colour, extra = "") => `<path d="${points}" fill="none" stroke="var(--${colour})" stroke-width="1.6" stroke-linejoin="round" ${extra}/>`;

// A panel with a heading, an SVG, and a mark that follows the pointer.
function panel(parent, heading, keys, height, draw, probe) {
  const title = el("h4", {}, heading);
  for (const [name, colour] of keys) title.append(el("span", { class: "key", style: `--k: var(--${colour})` }, el("span", {}, name)));
  const box = el("div");
  parent.append(el("div", { class: "chart" }, title, box));
  let area = null;
  const redraw = drawn(box, (width) => {
    area = { left: 46, right: width - 8, top: 6, bottom: height - 20, width, height };
    box.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${heading}">${draw(area)}<g class="mark"></g></svg>`;
  });
  box.addEventListener("pointermove", (event) => {
    const rect = box.getBoundingClientRect();
    const found = area && probe(area, event.clientX - rect.left, event.clientY - rect.top);
    const mark = box.querySelector(".mark");
    if (!found) { hideTip(); if (mark) mark.innerHTML = ""; return; }
    mark.innerHTML = line(found.x, area.top, found.x, area.bottom, "muted") + (found.dots || "");
    showTip(found.text, event.clientX, event.clientY);
  });
  box.addEventListener("pointerleave", () => { hideTip(); const mark = box.querySelector(".mark"); if (mark) mark.innerHTML = ""; });
  return { box, redraw, area: () => area };
}
const dot = (x, y, colour) => `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3.5" fill="var(--${colour})"/>`;

// The share of requests that took longer than a value, on a logarithmic axis.
function spreadChart(parent, spread, colour) {
  const points = spread.points;
  const positive = points.map((point) => point[1]).filter((value) => value > 0);
  const low = points[0][1], high = points[points.length - 1][1];
  const log = positive.length === points.length && high / low > 20;
  const pad = high > low ? 0 : Math.max(high * 0.05, 0.01);
  const [from, to] = log ? [low, high] : [Math.max(0, low - pad - (high - low) * 0.03), high + pad + (high - low) * 0.03];
  const floor = Math.log10(1 - points[points.length - 1][0]);
  const x = (area, value) => area.left + (area.right - area.left) * (log ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from));
  const y = (area, share) => area.top + (area.bottom - area.top) * (Math.log10(Math.max(1 - share, 1e-9)) / floor);
  panel(parent, spread.title + " (ms)", [], 230, (area) => {
    let svg = "";
    const marks = log ? logTicks(from, to) : ticks(from, to, 4), texts = numbers(marks);
    marks.forEach((value, nth) => {
      svg += line(x(area, value), area.top, x(area, value), area.bottom, "grid") + label(x(area, value), area.bottom + 14, "middle", texts[nth]);
    });
    const places = [[0, "100 %"], [0.5, "50 %"], [0.9, "10 %"], [0.99, "1 %"], [0.999, "0.1 %"], [0.9999, "0.01 %"], [0.99999, "0.001 %"]];
    for (const [share, text] of places) {
      if (Math.log10(1 - share) < floor - 0.01) break;
      svg += line(area.left, y(area, share), area.right, y(area, share), "grid") + label(area.left - 5, y(area, share) + 4, "end", text);
    }
    return svg + path(points.map((point, nth) => `${nth ? "L" : "M"}${x(area, point[1]).toFixed(1)} ${y(area, point[0]).toFixed(1)}`).join(""), colour);
  }, (area, px, py) => {
    const nearest = points.reduce((best, point) => {
      const distance = Math.hypot(x(area, point[1]) - px, (y(area, point[0]) - py) * 1.5);
      return distance < best.distance ? { point, distance } : best;
    }, { point: points[0], distance: Infinity }).point;
    const over = (1 - nearest[0]) * 100;
    return { x: x(area, nearest[1]), dots: dot(x(area, nearest[1]), y(area, nearest[0]), colour),
      text: `${number(over)} % took longer than ${number(nearest[1])} ms\n(p${Number((nearest[0] * 100).toFixed(4))} of ${spread.n} requests)` };
  });
}

// The stretch of time that the charts of a workload show, in seconds. Those that follow it are told of every change.
class Stretch {
  constructor(end) { this.end = Math.max(end, 1e-6); this.followers = []; this.reset(); }
  reset() { this.set(0, this.end); }
  set(from, to) {
    const width = clamp(to - from, this.end / 1e5, this.end);
    this.from = clamp(from, 0, this.end - width);
    this.to = this.from + width;
    if (!this.waiting) {
      this.waiting = true;
      requestAnimationFrame(() => { this.waiting = false; this.followers.forEach((follow) => follow()); });
    }
  }
  zoom(factor, at) { this.set(at - (at - this.from) * factor, at + (this.to - at) * factor); }
  move(by) { const width = this.to - this.from, from = clamp(this.from + by, 0, this.end - width); this.set(from, from + width); }
}

// A panel over time. Each series: name, colour, and places and values.
function timePanel(parent, stretch, heading, unit, series, options = {}) {
  const x = (area, time) => area.left + (area.right - area.left) * (time - stretch.from) / (stretch.to - stretch.from);
  const timeAt = (area, px) => stretch.from + (stretch.to - stretch.from) * (px - area.left) / (area.right - area.left);
  const visible = (one) => one.at.map((time, nth) => [time, one.values[nth]]).filter(([time, value]) => value !== null && time >= stretch.from - options.width && time <= stretch.to + options.width);
  let top = 1;
  const y = (area, value) => area.bottom - (area.bottom - area.top) * value / top;
  const chart = panel(parent, `${heading} (${unit})`, series.map((one) => [one.name, one.colour]), options.height || 130, (area) => {
    top = options.top || 1.06 * Math.max(1e-9, ...series.flatMap((one) => visible(one).map((point) => point[1])));
    // Dots on the edge are shown in full.
    const edge = series.some((one) => one.dots) ? 4 : 0;
    let svg = `<defs><clipPath id="${options.id}"><rect x="${area.left - edge}" y="0" width="${Math.max(1, area.right - area.left) + 2 * edge}" height="${area.height}"/></clipPath></defs>`;
    for (const value of ticks(0, top, 3.5)) svg += line(area.left, y(area, value), area.right, y(area, value), "grid") + label(area.left - 5, y(area, value) + 4, "end", options.percent ? `${number(value * 100)} %` : number(value));
    for (const time of ticks(stretch.from, stretch.to, clamp(area.width / 110, 3, 9))) svg += line(x(area, time), area.bottom, x(area, time), area.bottom + 3, "line") + label(clamp(x(area, time), area.left, area.right - 12), area.bottom + 15, "middle", seconds(time));
    for (const one of series) {
      const points = visible(one);
      let d = "";
      if (one.steps) points.forEach(([time, value], nth) => {
        // Nothing is drawn over bins without a value.
        const next = nth > 0 && time - points[nth - 1][0] < options.width * 1.5;
        d += `${next ? "L" : "M"}${x(area, time).toFixed(1)} ${y(area, value).toFixed(1)}H${x(area, time + options.width).toFixed(1)}`;
      });
      else if (one.dots) points.forEach(([time, value]) => { d += `M${x(area, time).toFixed(1)} ${y(area, value).toFixed(1)}h0`; });
      else points.forEach(([time, value], nth) => { d += `${nth ? "L" : "M"}${x(area, time).toFixed(1)} ${y(area, value).toFixed(1)}`; });
      svg += path(d, one.colour, `clip-path="url(#${options.id})"` + (one.dots ? ` stroke-linecap="round" style="stroke-width:${points.length > 200 ? 3 : 6};opacity:${points.length > 200 ? 0.4 : 0.8}"` : ""));
    }
    return svg;
  }, (area, px) => {
    if (px < area.left || px > area.right) return null;
    const time = timeAt(area, px);
    const lines = [`at ${seconds(time)}`];
    for (const one of series) {
      let best = -1;
      for (let nth = 0; nth < one.at.length; nth++) {
        const middle = one.at[nth] + (one.steps ? options.width / 2 : 0);
        if (one.values[nth] !== null && (best < 0 || Math.abs(middle - time) < Math.abs(one.at[best] + (one.steps ? options.width / 2 : 0) - time))) best = nth;
      }
      if (best >= 0) lines.push(`${one.name}: ${options.percent ? (one.values[best] * 100).toFixed(1) + " %" : number(one.values[best]) + " " + unit}`);
    }
    return { x: px, text: lines.join("\n") };
  });
  stretch.followers.push(chart.redraw);
  let begun = null;
  chart.box.addEventListener("pointerdown", (event) => { if (event.button === 0) { begun = event.clientX - chart.box.getBoundingClientRect().left; } });
  chart.box.addEventListener("pointermove", (event) => {
    const area = chart.area();
    if (begun === null || !area) return;
    const now = clamp(event.clientX - chart.box.getBoundingClientRect().left, area.left, area.right);
    chart.box.querySelector(".mark").innerHTML = `<rect x="${Math.min(begun, now)}" y="${area.top}" width="${Math.abs(now - begun)}" height="${area.bottom - area.top}" fill="var(--a)" opacity=".18"/>`;
  });
  addEventListener("pointerup", (event) => {
    const area = chart.area();
    if (begun === null || !area) return;
    const now = clamp(event.clientX - chart.box.getBoundingClientRect().left, area.left, area.right);
    const [from, to] = [timeAt(area, clamp(Math.min(begun, now), area.left, area.right)), timeAt(area, Math.max(begun, now))];
    if (Math.abs(now - begun) > 6) stretch.set(from, to);
    begun = null;
  });
  addEventListener("pointercancel", () => { begun = null; });
  chart.box.addEventListener("dblclick", () => stretch.reset());
}
