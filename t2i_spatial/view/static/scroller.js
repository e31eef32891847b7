// Virtual scrolling over any number of rows. Browsers cut elements off at some ten million pixels,
// so that from there on the scroll bar is a scale: small moves are taken pixel by pixel, jumps of the
// thumb in proportion, and the thumb is set right when the scrolling rests.

import { h } from "./dom.js";

const TALLEST = 4_000_000;
const REST = 160;

export class Scroller {
  // `render(index)` gives the element of one item; `moved(first, last)` is told what is on screen.
  constructor(place, { render, moved }) {
    this.place = place;
    this.render = render;
    this.moved = moved;
    this.canvas = h("div", { class: "canvas", role: "list" });
    this.place.replaceChildren(this.canvas);
    this.nodes = new Map();
    this.top = 0;
    this.seen = 0;
    this.total = 0;
    this.columns = 1;
    this.rowHeight = 1;
    this.place.onscroll = () => this.#scrolled();
    this.observer = new ResizeObserver(() => this.layout?.());
    this.observer.observe(place);
  }

  destroy() {
    this.observer.disconnect();
    this.place.onscroll = null;
    clearTimeout(this.timer);
  }

  set({ total, columns, rowHeight, first }) {
    Object.assign(this, { total, columns, rowHeight });
    this.height = Math.ceil(total / columns) * rowHeight;
    this.shownHeight = Math.min(this.height, TALLEST);
    this.canvas.style.height = `${this.shownHeight}px`;
    if (first !== undefined) this.goTo(first);
    else this.#sync();
    this.draw(true);
  }

  get #scale() {
    const room = this.place.clientHeight;
    const most = this.shownHeight - room;
    return most > 0 ? (this.height - room) / most : 1;
  }

  #sync() {
    this.top = Math.max(0, Math.min(this.top, this.height - this.place.clientHeight));
    this.place.scrollTop = this.top / this.#scale;
    this.seen = this.place.scrollTop;
  }

  #scrolled() {
    const now = this.place.scrollTop;
    const moved = now - this.seen;
    this.seen = now;
    const jump = Math.abs(moved) > 2 * this.place.clientHeight;
    this.top = jump || this.#scale <= 1 ? now * this.#scale : this.top + moved;
    this.top = Math.max(0, Math.min(this.top, this.height - this.place.clientHeight));
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.#sync(); this.draw(); }, REST);
  }

  // Bring an item on screen; `true` puts it at the top.
  goTo(index, atTop = true) {
    const start = Math.floor(index / this.columns) * this.rowHeight;
    const room = this.place.clientHeight;
    if (atTop || start < this.top) this.top = start;
    else if (start + this.rowHeight > this.top + room) this.top = start + this.rowHeight - room;
    this.#sync();
    this.draw();
  }

  get first() {
    return Math.min(Math.max(0, this.total - 1), Math.floor(this.top / this.rowHeight) * this.columns);
  }

  draw(anew = false) {
    const room = this.place.clientHeight || 600;
    const from = Math.max(0, Math.floor(this.top / this.rowHeight) - 1);
    const to = Math.ceil((this.top + room) / this.rowHeight) + 1;
    const first = from * this.columns;
    const last = Math.min(this.total, to * this.columns);
    for (const [index, node] of this.nodes) {
      if (anew || index < first || index >= last) { node.remove(); this.nodes.delete(index); }
    }
    const shift = this.place.scrollTop - this.top;
    let before = null;
    for (let index = first; index < last; index++) {
      let node = this.nodes.get(index);
      if (!node) {
        node = this.render(index);
        node.setAttribute("role", "listitem");
        node.setAttribute("aria-setsize", this.total);
        node.setAttribute("aria-posinset", index + 1);
        this.nodes.set(index, node);
        if (before) before.after(node);
        else this.canvas.prepend(node);
      }
      before = node;
      const row = Math.floor(index / this.columns);
      const column = index % this.columns;
      node.style.height = `${this.rowHeight}px`;
      node.style.width = `${100 / this.columns}%`;
      node.style.transform = `translate(${column * 100}%, ${row * this.rowHeight + shift}px)`;
    }
    this.moved(first, last);
  }

  // Draw one item again, where it is on screen.
  refresh(index) {
    const old = this.nodes.get(index);
    if (!old) return;
    const focused = old.contains(document.activeElement);
    const node = this.render(index);
    for (const name of ["role", "aria-setsize", "aria-posinset", "style"]) {
      if (name === "style") node.style.cssText = old.style.cssText;
      else node.setAttribute(name, old.getAttribute(name));
    }
    old.replaceWith(node);
    this.nodes.set(index, node);
    if (focused) node.querySelector("button, a")?.focus({ preventScroll: true });
  }
}
