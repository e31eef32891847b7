// Histograms of value and margin, and how often people agree with a value.

import { KIND_WORDS, count, h, svg } from "./dom.js";
import { ask } from "./state.js";

const [W, H, PAD] = [640, 260, 34];

export async function drawCharts(place, run) {
  const [value, margin, labels] = await Promise.all([ask("histogram", { what: "value" }), ask("histogram", { what: "margin" }), ask("reliability")]);
  place.replaceChildren(h("div", { class: "charts", tabindex: "0", role: "region", "aria-label": "Plots" },
    drawHistogram(value, "Values"), drawHistogram(margin, "Margins: the distance from the other answer"), drawReliability(labels)));
}

function drawHistogram(told, title) {
  const kinds = Object.keys(told.counts);
  const figure = h("figure", {}, h("h2", {}, title));
  if (!told.edges.length) {
    figure.append(h("p", { class: "quiet" }, "None of these images has one."));
    return figure;
  }
  const bins = told.edges.length - 1;
  const sums = Array.from({ length: bins }, (_, k) => kinds.reduce((sum, kind) => sum + told.counts[kind][k], 0));
  const top = Math.max(1, ...sums);
  const chart = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", "aria-hidden": "true" });
  const x = (k) => PAD + ((W - 2 * PAD) * k) / bins;
  const y = (n) => H - PAD - ((H - 2 * PAD) * n) / top;
  sums.forEach((_, k) => {
    let below = 0;
    for (const kind of kinds) {
      const n = told.counts[kind][k];
      if (n) chart.append(svg("rect", { class: `bar ${kind}`, x: x(k) + 0.5, width: Math.max(1, x(1) - x(0) - 1), y: y(below + n), height: y(below) - y(below + n) }));
      below += n;
    }
  });
  axis(chart, told.edges[0], told.edges[bins]);
  chart.append(svg("text", { x: PAD, y: PAD - 10 }, `${count(top)} images`));
  const rows = kinds.map((kind) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: `swatch ${kind}` }), KIND_WORDS[kind]), h("td", {}, count(told.counts[kind].reduce((a, b) => a + b, 0)))));
  figure.append(chart, ...[h("table", { class: "legend" }, h("caption", { class: "hidden" }, `${title}: images by verdict`), h("tbody", {}, rows)),
    told.without > 0 && h("p", { class: "quiet" }, `${count(told.without)} images have none`)].filter(Boolean));
  return figure;
}

function axis(chart, low, high) {
  chart.append(svg("line", { class: "axis", x1: PAD, x2: W - PAD, y1: H - PAD, y2: H - PAD }));
  for (const share of [0, 0.5, 1]) {
    const at = low + share * (high - low);
    chart.append(svg("text", { x: PAD + share * (W - 2 * PAD), y: H - PAD + 20, "text-anchor": "middle" }, Number(at.toFixed(2))));
  }
}

function drawReliability(told) {
  const figure = h("figure", {}, h("h2", {}, "Values against what people see"));
  if (!told.bins.length) {
    figure.append(h("p", { class: "quiet" }, told.said));
    return figure;
  }
  const side = 320;
  const at = (v) => PAD + v * (side - 2 * PAD);
  const chart = svg("svg", { viewBox: `0 0 ${side} ${side}`, class: "chart square", "aria-hidden": "true" });
  chart.append(svg("line", { class: "diagonal", x1: at(0), y1: side - at(0), x2: at(1), y2: side - at(1) }));
  for (const bin of told.bins) {
    const cx = at(bin.stated);
    chart.append(svg("line", { class: "whisker", x1: cx, x2: cx, y1: side - at(bin.low), y2: side - at(bin.high) }), svg("circle", { cx, cy: side - at(bin.seen), r: 4 }));
  }
  for (const v of [0, 0.5, 1]) chart.append(svg("text", { x: at(v), y: side - 10, "text-anchor": "middle" }, v), svg("text", { x: 8, y: side - at(v) + 4 }, v));
  const table = h("table", { class: "numbers" }, h("caption", {}, told.said),
    h("thead", {}, h("tr", {}, ["value", "people say right", "95 % interval", "labels"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, told.bins.map((b) => h("tr", {}, h("td", {}, b.stated.toFixed(2)), h("td", {}, `${(100 * b.seen).toFixed(0)} %`), h("td", {}, `${(100 * b.low).toFixed(0)} to ${(100 * b.high).toFixed(0)} %`), h("td", {}, b.n)))));
  figure.append(h("div", { class: "beside" }, chart, table));
  return figure;
}
