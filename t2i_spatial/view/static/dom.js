// Elements from data. Text only ever goes through textContent and attributes: nothing that a run
// says is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(node.style, value);
    else if (key in PROPERTIES) node[PROPERTIES[key]] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const PROPERTIES = { value: "value", checked: "checked", text: "textContent" };

export const words = (name) => String(name).replaceAll("_", " ");
export const count = (n) => Number(n).toLocaleString("en");
export const signed = (x) => (x >= 0 ? "+" : "−") + Math.abs(x).toFixed(2);
export const KIND_WORDS = { right: "right", wrong: "wrong", graded: "graded", unscored: "not scored" };

export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  place.classList.toggle("shown", Boolean(text));
  clearTimeout(say.timer);
  say.timer = setTimeout(() => place.classList.remove("shown"), 6000);
}

// What a sighted reader sees by colour is said in words too.
export function badge(kind, status) {
  const text = kind === "unscored" || !kind ? words(status ?? "not judged") : KIND_WORDS[kind];
  return h("span", { class: `badge ${kind ?? ""}` }, text);
}

export async function show(title, ...content) {
  const dialog = document.getElementById("dialog");
  const close = h("button", { type: "button", class: "close", onclick: () => dialog.close(), "aria-label": "Close" }, "×");
  dialog.replaceChildren(h("div", { class: "top" }, h("h2", { id: "dialog-title" }, title), close), ...content);
  if (!dialog.open) dialog.showModal();
  return dialog;
}
