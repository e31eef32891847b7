// Gallery, table and comparison: one list of images in three layouts, read page by page.

import { badge, h, say, signed, words } from "./dom.js";
import { ask, get, question } from "./state.js";
import { picture } from "./boxes.js";
import { Scroller } from "./scroller.js";

const PAGE = 60;
const LAYOUTS = {
  gallery: { least: 190, caption: 122 },
  compare: { least: 380, caption: 96 },
  table: { row: 74 },
};

export class Gallery {
  constructor(place, open) {
    this.place = place;
    this.open = open;
    this.scroll = h("div", { class: "scroll" });
    place.replaceChildren(this.scroll);
    this.scroller = new Scroller(this.scroll, { render: (index) => this.#render(index), moved: (first, last) => this.#want(first, last) });
    this.scroller.layout = () => this.#layout();
    this.active = 0;
    this.scroll.addEventListener("focusin", (event) => {
      const card = event.target.closest("[data-index]");
      if (card) this.#activate(Number(card.dataset.index), false);
    });
    this.#forget();
  }

  destroy() {
    this.scroller.destroy();
    clearTimeout(this.noting);
  }

  #forget() {
    this.rows = new Map();
    this.others = new Map();
    this.pages = new Set();
    this.evidence = new Map();
    this.asking = new Set();
  }

  prepare(run, view) {
    this.run = run;
    this.view = view;
    this.asked = question();
    this.place.dataset.layout = view;
  }

  show(found) {
    const anew = this.shown !== this.asked + this.view;
    this.shown = this.asked + this.view;
    if (!anew) return;
    this.total = found.matched;
    this.#forget();
    const start = Math.min(Number(get("at", "0")) || 0, Math.max(0, this.total - 1));
    this.active = start;
    this.place.querySelector(".nothing")?.remove();
    if (!this.total) this.scroll.before(h("p", { class: "nothing" }, "No image fits these filters."));
    this.scroll.hidden = !this.total;
    this.#layout(start);
  }

  #layout(first) {
    if (this.total === undefined) return;
    const width = this.scroll.clientWidth;
    if (this.view === "table") {
      this.scroller.set({ total: this.total, columns: 1, rowHeight: LAYOUTS.table.row, first });
      return;
    }
    const { least, caption } = LAYOUTS[this.view];
    const columns = Math.max(this.view === "compare" ? 1 : 2, Math.floor(width / least));
    const cell = width / columns - 16;
    const image = this.view === "compare" ? cell / 2 : cell;
    this.scroller.set({ total: this.total, columns, rowHeight: Math.round(image + caption), first });
  }

  #want(first, last) {
    for (let page = Math.floor(first / PAGE); page <= Math.floor(Math.max(first, last - 1) / PAGE); page++) {
      if (!this.pages.has(page) && page * PAGE < this.total) { this.pages.add(page); this.#readPage(page); }
    }
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.#readEvidence(first, last), 90);
    clearTimeout(this.noting);
    this.noting = setTimeout(() => {
      const at = this.scroller.first;
      if (String(at) !== get("at", "0") && this.shown) {
        const next = new URLSearchParams(location.search);
        if (at) next.set("at", at); else next.delete("at");
        history.replaceState(null, "", `?${next}`);
      }
    }, 400);
  }

  async #readPage(page) {
    const shown = this.shown;
    try {
      const told = await ask("page", { offset: page * PAGE, limit: PAGE });
      if (shown !== this.shown) return;
      told.rows.forEach((row, k) => {
        this.rows.set(page * PAGE + k, row);
        if (told.others) this.others.set(page * PAGE + k, told.others[k]);
        this.scroller.refresh(page * PAGE + k);
      });
      this.#readEvidence(this.scroller.first, this.scroller.first + PAGE);
    } catch (error) {
      this.pages.delete(page);
      say(error.message);
    }
  }

  async #readEvidence(first, last) {
    await Promise.all([this.#evidenceOf(this.rows, get("run", "0"), first, last), this.view === "compare" && this.#evidenceOf(this.others, get("other"), first, last)]);
  }

  async #evidenceOf(rows, run, first, last) {
    const wanted = [];
    for (let index = first; index < last; index++) {
      const row = rows.get(index);
      const key = row && `${run}/${row.row}`;
      if (row && !this.evidence.has(key) && !this.asking.has(key)) { wanted.push([index, row, key]); this.asking.add(key); }
    }
    if (!wanted.length) return;
    const shown = this.shown;
    try {
      const told = await ask("evidence", { run, rows: wanted.map(([, row]) => row.row).join(",") });
      if (shown !== this.shown) return;
      const found = new Map(told.evidence.map((entry) => [entry.row, entry]));
      for (const [index, row, key] of wanted) {
        this.evidence.set(key, found.get(row.row) ?? {});
        this.scroller.refresh(index);
      }
    } catch (error) {
      say(error.message);
    } finally {
      wanted.forEach(([, , key]) => this.asking.delete(key));
    }
  }

  #render(index) {
    const row = this.rows.get(index);
    const item = h("div", { class: "item", "data-index": index });
    if (!row) { item.append(h("div", { class: "card waiting" })); return item; }
    item.append(this.view === "table" ? this.#line(row, index) : this.view === "compare" ? this.#pair(row, index) : this.#card(row, index));
    return item;
  }

  #image(row, run, size) {
    const seen = this.evidence.get(`${run}/${row.row}`) ?? {};
    return picture({
      address: row.image === null || row.status === "image_missing" ? null : `/image/${run}/${row.image}?size=${size}`,
      alt: row.text,
      width: seen.width,
      height: seen.height,
      boxes: seen.boxes ?? [],
      problem: seen.problem ?? words(row.status ?? "no image"),
    });
  }

  #button(row, index, ...content) {
    return h("button", { type: "button", class: "open", tabindex: index === this.active ? "0" : "-1", "aria-label": `${row.text}, sample ${row.sample}: ${words(row.verdict === "unscored" ? row.status : row.verdict ?? "not judged")}`, onclick: () => { this.active = index; this.open(row); } }, content);
  }

  #facts(row) {
    return h("span", { class: "facts" }, badge(row.verdict, row.status),
      row.verdict === "graded" && row.value !== null && h("span", {}, row.value.toFixed(2)),
      row.margin !== null && h("span", { title: "margin" }, signed(row.margin)),
      row.kept && h("span", { class: row.kept }, row.kept));
  }

  #card(row, index) {
    const seen = this.evidence.get(`${get("run", "0")}/${row.row}`) ?? {};
    return h("div", { class: "card" }, this.#button(row, index, this.#image(row, get("run", "0"), 320)),
      h("p", { class: "prompt" }, row.text), this.#facts(row),
      h("p", { class: "reason", title: seen.reason ?? null }, seen.reason ?? ""));
  }

  #pair(row, index) {
    const other = this.others.get(index);
    const run = get("run", "0");
    const side = (one, number) => h("span", { class: "side" }, one ? this.#image(one, number, 320) : picture({ problem: "not in the other run" }),
      one && h("span", { class: "under" }, badge(one.verdict, one.status), one.margin !== null && h("span", {}, signed(one.margin))));
    return h("div", { class: "card pair" },
      this.#button(row, index, h("span", { class: "sides" }, side(row, run), side(other, get("other")))),
      h("p", { class: "prompt" }, row.text), h("span", { class: "facts quiet" }, `sample ${row.sample}`, ` · ${flipWords(row, other)}`));
  }

  #line(row, index) {
    const seen = this.evidence.get(`${get("run", "0")}/${row.row}`) ?? {};
    return h("div", { class: "line" }, this.#button(row, index, this.#image(row, get("run", "0"), 160)),
      h("div", { class: "what" }, h("p", { class: "prompt" }, row.text), h("p", { class: "quiet" }, `${row.prompt_id} · sample ${row.sample}`)),
      this.#facts(row), h("span", { class: "number" }, row.value === null ? "–" : row.value.toFixed(3)),
      h("p", { class: "reason" }, seen.reason ?? ""));
  }

  #activate(index, focus = true) {
    const before = this.scroller.nodes.get(this.active)?.querySelector("button.open");
    this.active = Math.max(0, Math.min(index, this.total - 1));
    before?.setAttribute("tabindex", "-1");
    if (focus) this.scroller.goTo(this.active, false);
    const button = this.scroller.nodes.get(this.active)?.querySelector("button.open");
    button?.setAttribute("tabindex", "0");
    if (focus) (button ?? this.scroll).focus({ preventScroll: true });
  }

  refocus() {
    this.scroller.nodes.get(this.active)?.querySelector("button.open")?.focus({ preventScroll: true });
  }

  key(event) {
    const columns = this.scroller.columns;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / this.scroller.rowHeight)) * columns;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page };
    if (event.key in steps) this.#activate(this.scroll.contains(document.activeElement) ? this.active + steps[event.key] : this.active);
    else if (event.key === "Home") this.#activate(0);
    else if (event.key === "End") this.#activate(this.total - 1);
    else return false;
    return true;
  }
}

function flipWords(row, other) {
  if (!other) return "only in this run";
  const pair = `${row.verdict}/${other.verdict}`;
  return { "right/wrong": "lost: right here, wrong there", "wrong/right": "gained: wrong here, right there", "right/right": "right in both", "wrong/wrong": "wrong in both" }[pair] ?? "undecided";
}

