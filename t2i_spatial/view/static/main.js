// Puts the parts together: head, filters, and one of the views.

import { h, say, show } from "./dom.js";
import { fetchJson, get, keep, onChange, set, tell } from "./state.js";
import { Gallery } from "./gallery.js";
import { drawFacets } from "./facets.js";
import { drawPrompt } from "./prompt.js";
import { drawCharts } from "./charts.js";
import { Labelling } from "./label.js";

const head = document.getElementById("head");
const main = document.getElementById("main");
const facets = document.getElementById("facets");
const VIEWS = [["gallery", "Gallery"], ["table", "Table"], ["charts", "Plots"], ["label", "Label"]];
const SORTS = [["prompt", "as in the prompt set"], ["margin", "clearest failures first"], ["-margin", "clearest successes first"], ["closest", "closest calls first"], ["value", "lowest value first"], ["-value", "highest value first"], ["random", "in random order"]];
let about = { runs: [] };
let current = null;

const viewNow = () => {
  const asked = get("view", "gallery");
  return asked === "compare" && get("other") === "" ? "gallery" : asked;
};

function theme(next) {
  const now = next ?? keep.get("theme", "");
  if (next) keep.set("theme", next);
  if (now) document.documentElement.dataset.theme = now;
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
}

function choice(label, name, options, chosen, changed) {
  return h("label", {}, h("span", {}, label),
    h("select", { name, onchange: (event) => changed(event.target.value) },
      options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
}

let typing;
function drawHead() {
  const run = about.runs[Number(get("run", "0"))] ?? about.runs[0];
  const held = document.activeElement?.closest?.("#head [name]")?.getAttribute("name");
  const view = viewNow();
  const search = h("input", { type: "search", name: "q", id: "search", placeholder: "words of the prompt, id", value: get("q"), autocomplete: "off" });
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => set({ q: search.value.trim() || null, at: null }, false), 250);
  });
  const views = about.runs.length > 1 ? [...VIEWS.slice(0, 2), ["compare", "Compare"], ...VIEWS.slice(2)] : VIEWS;
  const title = h("div", { class: "title" },
    h("h1", {}, run.name),
    h("nav", { "aria-label": "Views" }, views.map(([name, text]) =>
      h("a", { href: address(name), "aria-current": name === view ? "page" : null, onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        open(name);
      } }, text))),
    h("div", { class: "tools" },
      h("button", { type: "button", id: "filters-button", "aria-expanded": String(document.body.classList.contains("filters-open")), "aria-controls": "facets", onclick: toggleFilters }, "Filters"),
      h("button", { type: "button", id: "boxes-button", "aria-pressed": String(!document.body.classList.contains("no-boxes")), title: "boxes on and off (b)", onclick: toggleBoxes }, "Boxes"),
      h("button", { type: "button", "aria-label": isDark() ? "Light colours" : "Dark colours", title: "light and dark (d)", onclick: switchTheme }, isDark() ? "☀" : "☾"),
      h("button", { type: "button", "aria-label": "Keys and help", title: "keys (?)", onclick: help }, "?")));
  const controls = h("form", { class: "controls", role: "search", onsubmit: (event) => event.preventDefault() },
    about.runs.length > 1 && choice("Run", "run", about.runs.map((r) => [String(r.number), r.name]), String(run.number), (value) => set({ run: value, at: null })),
    view === "compare" && choice("with", "other", about.runs.filter((r) => r.number !== run.number).map((r) => [String(r.number), r.name]), get("other"), (value) => set({ other: value, at: null })),
    run.protocols.length > 0 && choice("Protocol", "protocol", run.protocols.map((p) => [p.name, p.title]), get("protocol", run.protocols[0].name), (value) => set({ protocol: value, at: null })),
    view !== "charts" && choice("Order", "sort", [...(view === "compare" ? [["flips", "flips first"]] : []), ...SORTS, ...(run.protocols.length > 1 ? [["disagreement", "where protocols disagree first"]] : [])], get("sort", view === "compare" ? "flips" : "prompt"), (value) => set({ sort: value, at: null })),
    h("label", { class: "grow" }, h("span", {}, "Search"), search),
    h("p", { id: "count", role: "status" }));
  head.replaceChildren(title, view === "label" ? "" : controls, ...run.warnings.map((text) => h("p", { class: "warning", role: "alert" }, text)), ...trust(run));
  if (held) head.querySelector(`[name="${CSS.escape(held)}"]`)?.focus();
  document.title = `${run.name} – t2i-spatial`;
  return run;
}

function address(view) {
  const next = new URLSearchParams(location.search);
  next.set("view", view);
  return `?${next}`;
}

function open(view) {
  const changes = { view, at: null, open: null };
  if (view === "compare") {
    const run = Number(get("run", "0"));
    changes.other = get("other") || String(about.runs.find((r) => r.number !== run).number);
  } else {
    Object.assign(changes, { other: null, flip: null, sort: get("sort") === "flips" ? null : get("sort") });
  }
  set(changes);
}

function toggleBoxes() {
  const off = document.body.classList.toggle("no-boxes");
  keep.set("boxes", off ? "off" : "on");
  document.getElementById("boxes-button")?.setAttribute("aria-pressed", String(!off));
  say(off ? "boxes are hidden" : "boxes are shown");
}

/** How far the judge of the protocol that is shown is known to be right. */
function trust(run) {
  const known = (run.protocols.find((p) => p.name === get("protocol")) ?? run.protocols[0])?.measured;
  if (!known) return [];
  return [h("p", { class: "quiet" }, `judge measured: ${known.said}`), ...known.careful.map((text) => h("p", { class: "warning" }, text))];
}

function toggleFilters() {
  const shown = document.body.classList.toggle("filters-open");
  document.getElementById("filters-button").setAttribute("aria-expanded", String(shown));
  if (shown) facets.querySelector("button, summary")?.focus();
}

function switchTheme() {
  theme(isDark() ? "light" : "dark");
  drawHead();
  current?.counted && showCount(current.counted);
}

function help() {
  const keys = [["← → ↑ ↓", "move from image to image"], ["Enter", "everything about the image's prompt"], ["Esc", "close"], ["/", "search"], ["b", "boxes on and off"], ["f", "filters"], ["g, t, p", "gallery, table, plots"], ["c", "compare two runs"], ["l", "label; then y, n, u and z to undo"], ["d", "light and dark"], ["Home, End", "first and last image"], ["?", "this help"]];
  show("Keys", h("dl", { class: "keys" }, keys.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])),
    h("p", { class: "quiet" }, "The address of the page holds the whole view: it can be kept, sent and gone back from. Blue boxes are the subject, orange ones the object of the prompt's relation."));
}

function showCount(found) {
  const place = document.getElementById("count");
  if (place) place.textContent = found.matched === found.total ? `${found.total.toLocaleString("en")} images` : `${found.matched.toLocaleString("en")} of ${found.total.toLocaleString("en")} images`;
}

let drawn = "";
let version = 0;
async function draw() {
  const mine = ++version;
  const run = drawHead();
  const view = viewNow();
  const dialog = document.getElementById("dialog");
  const opened = get("open");
  if (opened) drawPrompt(run, about);
  else if (dialog.open) dialog.close();
  document.body.dataset.view = view;
  if (view !== drawn) {
    current?.destroy?.();
    main.replaceChildren();
    current = null;
  }
  drawn = view;
  if (view === "label") {
    facets.replaceChildren();
    current ??= new Labelling(main, run);
    return;
  }
  try {
    if (view !== "charts") {
      current ??= new Gallery(main, (row) => set({ open: row.prompt_id, side: String(row.sample) }));
      current.prepare(run, view);
    }
    const found = await fetchJson(`/api/found?${current?.asked ?? new URLSearchParams(location.search)}`);
    if (mine !== version) return;
    showCount(found);
    drawFacets(facets, found, run);
    if (view === "charts") await drawCharts(main, run);
    else { current.counted = found; current.show(found); }
  } catch (error) {
    if (mine === version) main.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message));
    current = null;
    drawn = "";
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const dialog = document.getElementById("dialog");
  const writing = event.target.closest?.("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape" && writing) { writing.blur(); main.focus(); return; }
  if (writing) return;
  if (event.key === "b") { toggleBoxes(); return; }
  if (dialog.open) return;
  if (viewNow() === "label" && current?.key?.(event)) { event.preventDefault(); return; }
  const actions = {
    "/": () => document.getElementById("search")?.focus(),
    "?": help,
    d: switchTheme,
    f: toggleFilters,
    g: () => open("gallery"),
    t: () => open("table"),
    p: () => open("charts"),
    l: () => open("label"),
    c: () => about.runs.length > 1 && open("compare"),
  };
  if (actions[event.key]) { event.preventDefault(); actions[event.key](); return; }
  if (current?.key?.(event)) event.preventDefault();
});

document.getElementById("dialog").addEventListener("close", () => {
  if (get("open")) set({ open: null, side: null });
  current?.refocus?.();
});
document.getElementById("dialog").addEventListener("click", (event) => {
  if (event.target === event.currentTarget) event.currentTarget.close();
});

theme();
document.body.classList.toggle("no-boxes", keep.get("boxes", "on") === "off");
try {
  about = await fetchJson("/api/runs");
  onChange(draw);
  tell();
} catch (error) {
  main.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message));
}
