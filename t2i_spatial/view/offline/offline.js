// Labelling without a server: answers are kept by this browser and saved as the same JSON lines.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const KEYS = { y: "yes", n: "no", u: "unsure" };
  const NAMES = { yes: "Yes", no: "No", unsure: "Cannot tell" };
  let annotator = "";
  let lines = [];
  let saved = true;
  let kept = true;

  function h(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "value") node.value = value;
      else if (value === true) node.setAttribute(key, "");
      else if (value !== false && value !== null) node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }

  const place = () => `t2i-spatial.labels.${data.page}.${annotator}`;
  function keep() {
    try { localStorage.setItem(place(), JSON.stringify(lines)); } catch { kept = false; }
  }
  function recall() {
    try { lines = JSON.parse(localStorage.getItem(place()) ?? "[]"); } catch { lines = []; }
  }

  // A number of its own for every annotator and image: everybody has another order.
  function chance(text) {
    let state = 2166136261;
    for (const letter of text) state = Math.imul(state ^ letter.codePointAt(0), 16777619);
    state = Math.imul(state ^ (state >>> 15), 2246822507);
    return (state ^ (state >>> 13)) >>> 0;
  }

  function steps() {
    const said = new Map();
    for (const line of lines) {
      const key = `${line.item}/${line.question_id}`;
      said.delete(key);
      if (line.label !== "withdrawn") said.set(key, line);
    }
    return said;
  }

  // The first open question of an image; of what is not there nothing more is asked.
  function open(item, said) {
    const absent = new Set();
    for (const asked of data.items[item].questions) {
      const answer = said.get(`${item}/${asked.id}`)?.label;
      if (asked.part === "exists" && answer === "no" && asked.gold === "yes") asked.objects.forEach((one) => absent.add(one));
      if (answer === undefined && (asked.part === "exists" || !asked.objects.some((one) => absent.has(one)))) return asked;
    }
    return null;
  }

  function write(item, question, label) {
    lines.push({ item, question_id: question.id, question: question.text, label, time: new Date().toISOString() });
    saved = false;
    keep();
    draw();
  }

  function undo() {
    const last = [...steps().values()].at(-1);
    if (last) write(last.item, { id: last.question_id, text: last.question }, "withdrawn");
  }

  function save() {
    const text = lines.map(({ item, ...line }) => JSON.stringify({ ...data.items[item].label, ...line, annotator, protocol_version: data.protocol_version }) + "\n").join("");
    const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "application/jsonl" })), download: `${annotator}.jsonl` });
    link.click();
    saved = true;
    draw();
  }

  let shown = null;
  let current = null;
  function draw() {
    const said = steps();
    const order = data.items.map((_, k) => k).sort((a, b) => chance(`${annotator}/${a}`) - chance(`${annotator}/${b}`));
    const begun = new Set([...said.values()].map((line) => line.item));
    const left = order.filter((item) => open(item, said));
    const item = left.find((one) => begun.has(one)) ?? left[0];
    const done = order.length - left.length;
    const foot = h("div", { class: "foot" }, h("progress", { value: done, max: order.length, "aria-label": "images labelled" }), h("span", {}, `${done} of ${order.length} images`),
      h("button", { type: "button", disabled: !said.size, onclick: undo }, "Undo (z)"),
      h("button", { type: "button", disabled: !lines.length, onclick: save }, saved ? "Save the file again" : "Save the file"), h("span", {}, `as ${annotator}`));
    const warning = kept ? "" : h("p", { class: "warning", role: "alert" }, "This browser keeps nothing: save the file before you close the page.");
    if (item === undefined) {
      current = null;
      main.replaceChildren(h("div", { class: "label" }, h("h2", {}, "All done"), h("p", {}, "Save the file and send it to whoever gave you this page."), foot, warning));
      return;
    }
    const question = open(item, said);
    current = { item, question };
    if (shown?.item !== item) shown = { item, stage: h("div", { class: "stage" }, h("span", { class: "picture" }, h("img", { src: data.items[item].picture, alt: "the image to label" }))) };
    const buttons = Object.entries(KEYS).map(([key, label]) => h("button", { type: "button", onclick: () => write(item, question, label) }, `${NAMES[label]} (${key})`));
    main.replaceChildren(h("div", { class: "label" }, shown.stage, h("p", { class: "said" }, data.items[item].prompt), h("p", { class: "asked", role: "status" }, question.text), h("div", { class: "choices", role: "group", "aria-label": "Answer" }, ...buttons), foot, warning));
  }

  document.addEventListener("keydown", (event) => {
    if (!annotator || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "z") undo();
    else if (current && event.key in KEYS) write(current.item, current.question, KEYS[event.key]);
  });
  addEventListener("beforeunload", (event) => { if (!saved && !kept) event.preventDefault(); });

  const field = h("input", { name: "annotator", required: true, maxlength: 40, pattern: "[A-Za-z0-9_\\-][A-Za-z0-9._\\-]*", autocomplete: "off" });
  main.replaceChildren(h("div", { class: "label" }, h("form", { onsubmit: (event) => {
    event.preventDefault();
    annotator = field.value;
    recall();
    draw();
  } }, h("h1", {}, "Label images"), h("p", {}, "You see one image at a time and answer with y (yes), n (no) or u (cannot tell). This browser keeps your answers; at the end, save them as a file. Nothing is sent anywhere."), h("label", {}, "Your id (letters, digits, . _ -)", field), h("button", {}, "Begin"))));
  field.focus();
})();
