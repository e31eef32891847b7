// One prompt: its scene, every sample, and all that every witness says of it.

import { badge, h, say, show, signed, words } from "./dom.js";
import { fetchJson, get } from "./state.js";
import { maskCanvas, picture } from "./boxes.js";

let shown = "";

export async function drawPrompt(run, about) {
  const query = new URLSearchParams({ run: get("run", "0"), prompt: get("open") });
  if (get("view") === "compare" && get("other")) query.set("other", get("other"));
  const key = `${query}`;
  const dialog = document.getElementById("dialog");
  if (shown === key && dialog.open) return;
  let told;
  try {
    told = await fetchJson(`/api/prompt?${query}`);
  } catch (error) {
    say(error.message);
    return;
  }
  if (get("open") !== query.get("prompt")) return;
  shown = key;
  const page = told.pages[0];
  const sides = told.pages.map((one, k) => h("section", { class: "run" }, told.pages.length > 1 && h("h3", {}, about.runs[told.runs[k]].name),
    one.samples.length ? h("div", { class: "samples" }, one.samples.map((sample) => drawSample(sample, told.runs[k], one, about.runs[told.runs[k]]))) : h("p", { class: "quiet" }, "This run has no image of the prompt.")));
  show(page.text || page.prompt_id, drawScene(page), h("div", { class: "runs" }, sides));
  dialog.scrollTop = 0;
  const wanted = dialog.querySelector(`[data-sample="${CSS.escape(get("side"))}"]`);
  wanted?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function drawScene(page) {
  const objects = page.objects.map((one) => [one.count === 0 ? "no" : one.count === null ? null : one.count_rule && one.count_rule !== "exactly" ? `${one.count_rule} ${one.count}` : one.count > 1 ? one.count : null, one.color, ...(one.attributes ?? []), one.name, one.text && `“${one.text}”`, one.frame_position && `(${one.frame_position})`].filter(Boolean).join(" "));
  const relations = page.relations.map((one) => `${one.subject} ${one.negated ? "not " : ""}${one.relation} ${one.object}${one.second ? ` and ${one.second}` : ""}`);
  const fact = (name, values) => values.length > 0 && [h("dt", {}, name), h("dd", {}, values.join(" · "))];
  return h("dl", { class: "scene" }, fact("id", [page.prompt_id]), fact("objects", objects), fact("relations", relations), fact("not read", page.unparsed), page.tag && fact("tag", [page.tag]));
}

function drawSample(sample, run, page, about) {
  const image = sample.image ?? {};
  const main = sample.detections.main ?? Object.values(sample.detections)[0] ?? {};
  const width = image.width ?? main.width;
  const height = image.height ?? main.height;
  const protocol = get("protocol") || about.protocols[0]?.name;
  const verdicts = [...sample.verdicts].sort((a, b) => (b.protocol === protocol) - (a.protocol === protocol));
  const missing = !image.image || image.status === "image_missing";
  const place = h("div", { class: "zoom" });
  const draw = (boxes) => {
    const frame = picture({ address: missing ? null : `/image/${run}/${image.row}`, alt: `${page.text}, sample ${sample.sample}`, width, height, boxes, problem: image.reason ?? words(image.status ?? "no image") });
    place.replaceChildren(frame);
    return frame;
  };
  let boxes = verdicts[0]?.boxes?.length ? verdicts[0].boxes : main.detections ?? [];
  draw(boxes);
  const choose = (next) => { boxes = next; draw(boxes); };
  const layers = h("div", { class: "layers" },
    verdicts.length > 0 && h("label", {}, h("span", { class: "hidden" }, `Boxes over sample ${sample.sample}`),
      h("select", { onchange: (event) => {
        const [kind, name] = event.target.value.split("/");
        choose(kind === "verdict" ? verdicts[Number(name)].boxes : sample.detections[name]?.detections ?? []);
      } }, verdicts.map((one, k) => h("option", { value: `verdict/${k}` }, `boxes of ${words(one.protocol)}`)),
        Object.keys(sample.detections).map((name) => h("option", { value: `found/${name}` }, `all of ${name}`)))),
    !missing && h("button", { type: "button", "aria-pressed": "false", onclick: (event) => {
      const on = place.classList.toggle("large");
      event.target.setAttribute("aria-pressed", String(on));
    } }, "Zoom"),
    about.masks && h("button", { type: "button", onclick: async () => {
      const told = await fetchJson(`/api/masks?${new URLSearchParams({ run, prompt: page.prompt_id, sample: sample.sample })}`);
      if (!told.masks.length) { say("no masks are stored for this image"); return; }
      place.querySelector(".masks") ? place.querySelector(".masks").remove() : place.querySelector(".picture").append(maskCanvas(told.masks, width, height));
    } }, "Masks"));
  return h("article", { class: "sample", "data-sample": sample.sample },
    place, layers,
    h("p", { class: "quiet" }, [`sample ${sample.sample}`, image.seed !== null && image.seed !== undefined && `seed ${image.seed}`, width && `${width} × ${height}`].filter(Boolean).join(" · ")),
    sample.selection && h("p", { class: sample.selection.kept ? "kept" : "dropped" }, sample.selection.kept ? "kept for training" : `dropped by ${words(sample.selection.filter ?? "a filter")}: ${sample.selection.reason ?? ""}`),
    h("ul", { class: "verdicts" }, verdicts.map((one) => h("li", {},
      h("p", { class: "facts" }, h("strong", {}, words(one.protocol)), badge(kindOf(one), one.status),
        one.value !== null && h("span", {}, `value ${one.value.toFixed(2)}`), one.margin !== null && h("span", {}, `margin ${signed(one.margin)}`)),
      one.reason && h("p", { class: "reason" }, one.reason),
      one.unjudged?.length > 0 && h("p", { class: "reason" }, `not judged: ${one.unjudged.join("; ")}`),
      one.components?.length > 0 && h("p", { class: "quiet" }, one.components.filter((c) => c.value !== null).map((c) => `${words(c.name)} ${Number(c.value.toFixed(3))}`).join(" · "))))),
    Object.entries(sample.answers).map(([judge, answers]) => h("details", {}, h("summary", {}, `answers of ${judge} (${answers.length})`),
      h("ul", { class: "answers" }, answers.map((one) => h("li", {}, h("p", {}, one.text ?? one.question_id),
        h("p", { class: "facts" }, h("strong", {}, one.answer ? option(one, one.answer) : words(one.status)), one.rollout > 0 && h("span", {}, `asked ${one.rollout + 1} times`), one.p !== null && h("span", {}, `p ${one.p.toFixed(2)}`),
          one.gold && one.answer && h("span", { class: one.answer === one.gold ? "kept" : "dropped" }, one.answer === one.gold ? "as asked for" : `asked for: ${option(one, one.gold)}`)),
        one.status !== "answered" && one.reason && h("p", { class: "reason" }, one.reason)))))),
    Object.entries(sample.detections).map(([name, one]) => h("details", {}, h("summary", {}, `boxes of ${name} (${(one.detections ?? []).length + (one.hidden ?? 0)})`),
      one.status !== "scored" && h("p", { class: "reason" }, one.reason ?? words(one.status)),
      h("ul", { class: "found" }, (one.detections ?? []).map((d) => h("li", {}, `${d.label}${d.score === null ? "" : ` ${d.score.toFixed(2)}`}`, h("span", { class: "quiet" }, ` [${d.box.map((x) => Math.round(x)).join(", ")}]${d.color ? ` ${d.color}` : ""}${d.depth === null || d.depth === undefined ? "" : ` depth ${d.depth.toFixed(2)}`}`)))))));
}

/** An answer in words: of a choice the option that a letter stands for. */
function option(one, letter) {
  return one.options?.["ABCDEFGHIJ".indexOf(letter)] ?? letter;
}

function kindOf(verdict) {
  if (verdict.status !== "scored") return "unscored";
  return verdict.correct === null ? "graded" : verdict.correct ? "right" : "wrong";
}
