// Labelling: one image, its prompt, one question at a time. Nothing is shown of what a machine said.
// An answer counts when the server has it on disk; only then comes the next question.

import { h, say } from "./dom.js";
import { fetchJson, get, keep, set } from "./state.js";

const KEYS = { y: "yes", n: "no", u: "unsure" };

export class Labelling {
  constructor(place, run) {
    this.run = run;
    this.panel = h("div", { class: "label" });
    place.replaceChildren(this.panel);
    const annotator = get("annotator");
    if (annotator) this.#start(annotator);
    else this.#askWho();
  }

  #askWho(problem) {
    const field = h("input", { name: "annotator", required: true, maxlength: 40, pattern: "[A-Za-z0-9._\\-]+", value: keep.get("annotator", ""), autocomplete: "off" });
    this.panel.replaceChildren(h("form", { onsubmit: (event) => {
      event.preventDefault();
      keep.set("annotator", field.value);
      set({ annotator: field.value });
      this.#start(field.value);
    } }, h("h2", {}, "Label images"),
    h("p", {}, "You see one image at a time and answer with y (yes), n (no) or u (cannot tell). You do not see what any program said of it. Every answer is saved at once: stop whenever you like, and go on later under the same name."),
    problem && h("p", { class: "warning", role: "alert" }, problem),
    h("label", {}, "Your id (letters, digits, . _ -)", field), h("button", {}, "Begin")));
    field.focus();
  }

  async #start(annotator) {
    this.annotator = annotator;
    await this.#send("next", {});
  }

  async #send(what, body) {
    if (this.busy) return;
    this.busy = true;
    try {
      const told = await fetchJson(`/api/label/${what}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ run: this.run.number, annotator: this.annotator, ...body }) });
      this.#draw(told);
    } catch (error) {
      if (this.task) say(`not saved: ${error.message}`);
      else this.#askWho(error.message);
    } finally {
      this.busy = false;
    }
  }

  #draw(told) {
    const changed = !this.task || !told.task || told.task.item !== this.task.item;
    this.task = told.task;
    const foot = h("div", { class: "foot" },
      h("progress", { value: told.done, max: Math.max(1, told.all), "aria-label": "images labelled" }),
      h("span", { class: "progress" }, `${told.done} of ${told.all} images`),
      h("button", { type: "button", class: "undo", disabled: !told.can_undo, onclick: () => this.#send("undo", {}) }, "Undo (z)"),
      h("button", { type: "button", onclick: () => { this.task = null; set({ annotator: null }); this.#askWho(); } }, "Pause"),
      h("span", {}, `as ${this.annotator}`));
    if (!this.task) {
      this.panel.replaceChildren(h("h2", {}, "All done"), h("p", {}, `Thank you. The answers are in ${told.file}.`), foot);
      return;
    }
    const { item, prompt, question } = this.task;
    if (changed || !this.stage) {
      this.stage = h("div", { class: "stage" }, h("span", { class: "picture" }, h("img", { src: `/api/label/image/${this.run.number}/${item}`, alt: "the image to label" })));
    }
    const buttons = Object.entries(KEYS).map(([key, answer]) => h("button", { type: "button", onclick: () => this.#answer(answer) }, answer === "unsure" ? "Cannot tell " : answer === "yes" ? "Yes " : "No ", h("kbd", {}, `(${key})`)));
    this.panel.replaceChildren(this.stage, h("p", { class: "said" }, prompt), h("p", { class: "asked", role: "status" }, question), h("div", { class: "choices", role: "group", "aria-label": "Answer" }, buttons), foot);
  }

  #answer(answer) {
    const { item, question_id } = this.task;
    this.#send("answer", { item, question_id, answer });
  }

  key(event) {
    if (event.key === "z" && this.annotator) { this.#send("undo", {}); return true; }
    if (!this.task || !(event.key in KEYS)) return false;
    this.#answer(KEYS[event.key]);
    return true;
  }
}
