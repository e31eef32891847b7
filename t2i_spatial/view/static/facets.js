// Filters: what there is to choose from, with how many images would be left.

import { KIND_WORDS, count, h, words } from "./dom.js";
import { all, get, keep, set, toggle } from "./state.js";

const NAMES = { flip: "Here against there", verdict: "Verdict", status: "Status", relation: "Relation", object: "Object", tag: "Tag", kept: "Curation", filter: "Dropped by", witnesses: "Witnesses" };
const FEW = 8;
const grown = new Set();

export function drawFacets(place, found, run) {
  const held = document.activeElement?.closest?.("#facets [data-key]")?.dataset.key;
  const chosen = found.facets.flatMap((facet) => all(facet.name).map((member) => [facet.name, member]));
  const bounds = ["margin", "value"].filter((name) => get(name)).map((name) => [name, get(name)]);
  const parts = [];
  if (chosen.length || bounds.length || get("q")) {
    parts.push(h("div", { class: "chosen" },
      h("button", { type: "button", class: "clear", "data-key": "clear", onclick: () => set(Object.fromEntries([...found.facets.map((f) => [f.name, null]), ["margin", null], ["value", null], ["q", null], ["at", null]])) }, "Clear all filters")));
  }
  const shown = found.facets.filter((facet) => facet.members.length > 1 || all(facet.name).length);
  parts.push(...shown.map((facet) => drawFacet(facet, () => drawFacets(place, found, run))));
  if (!found.facets.some((facet) => facet.name === "witnesses") && run.protocols.length > 1) {
    parts.push(h("section", {}, h("button", { type: "button", class: "more", "data-key": "witnesses", onclick: () => set({ with: "witnesses" }) }, "Where do protocols disagree?")));
  }
  parts.push(drawBounds());
  place.replaceChildren(h("h2", { class: "hidden" }, "Filters"), ...parts);
  if (held) place.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
}

function drawFacet(facet, again) {
  const closed = keep.get(`closed.${facet.name}`, facet.name === "tag" ? "yes" : "no") === "yes" && !all(facet.name).length;
  const shown = grown.has(facet.name) ? facet.members : facet.members.filter((member, k) => k < FEW || member.chosen);
  const details = h("details", { open: !closed }, h("summary", { "data-key": `${facet.name}/` }, NAMES[facet.name] ?? words(facet.name)),
    h("ul", {}, shown.map((member) => h("li", {},
      h("label", {}, h("input", { type: "checkbox", checked: member.chosen, "data-key": `${facet.name}/${member.name}`, onchange: () => toggle(facet.name, member.name) }),
        h("span", { class: "name" }, facet.name === "verdict" ? KIND_WORDS[member.name] ?? member.name : words(member.name)),
        h("span", { class: "count" }, count(member.count)))))),
    shown.length < facet.members.length && h("button", { type: "button", class: "more", "data-key": `${facet.name}/+`, onclick: () => { grown.add(facet.name); again(); } }, `${facet.members.length - shown.length} more`),
    facet.more > 0 && grown.has(facet.name) && h("p", { class: "quiet" }, `and ${count(facet.more)} rarer ones: search for them`));
  details.addEventListener("toggle", () => keep.set(`closed.${facet.name}`, details.open ? "no" : "yes"));
  return h("section", {}, details);
}

function drawBounds() {
  const row = (name, text) => {
    const [low, high] = get(name).includes("..") ? get(name).split("..") : ["", ""];
    const change = () => {
      const [a, b] = [...line.querySelectorAll("input")].map((input) => input.value);
      set({ [name]: a || b ? `${a}..${b}` : null, at: null });
    };
    const line = h("fieldset", {}, h("legend", {}, text),
      h("input", { type: "number", step: "any", value: low, "aria-label": `${text} from`, placeholder: "from", "data-key": `${name}/low`, onchange: change }),
      h("input", { type: "number", step: "any", value: high, "aria-label": `${text} to`, placeholder: "to", "data-key": `${name}/high`, onchange: change }));
    return line;
  };
  return h("section", { class: "bounds" }, row("margin", "Margin"), row("value", "Value"));
}
