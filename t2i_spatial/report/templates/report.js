(() => {
  "use strict";
  const form = document.querySelector(".filters");
  if (!form) return;
  const grid = document.querySelector(".cards");
  const nothing = document.querySelector(".nothing");
  const count = form.querySelector(".count");
  const field = (name) => form.elements[name]?.value ?? "";
  const cards = [...grid.children].map((node, place) => ({
    node,
    place,
    search: node.dataset.search,
    tag: node.dataset.tag,
    kept: node.dataset.kept,
    disputed: node.dataset.disputed === undefined ? null : Number(node.dataset.disputed),
    verdicts: [...node.querySelectorAll(".verdict")],
    layers: [...node.querySelectorAll("g[data-protocol]")],
    all: node.querySelector("g.all"),
  }));
  const margin = (card) => (card.now?.dataset.margin ? Number(card.now.dataset.margin) : null);
  const last = (value) => (value === null ? Infinity : value);
  const orders = {
    prompt: (card) => card.place,
    disputed: (card) => last(card.disputed === null ? null : -card.disputed),
    closest: (card) => last(margin(card) === null ? null : Math.abs(margin(card))),
    worst: (card) => last(margin(card)),
    best: (card) => last(margin(card) === null ? null : -margin(card)),
  };
  let visible = cards;

  function update() {
    const protocol = field("protocol");
    const words = field("text").toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = { tag: field("tag"), kept: field("kept"), kind: field("kind"), status: field("status") };
    const all = form.elements.all.checked;
    document.body.classList.toggle("no-boxes", !form.elements.boxes.checked);
    for (const card of cards) {
      card.now = undefined;
      for (const verdict of card.verdicts) {
        verdict.hidden = verdict.dataset.protocol !== protocol;
        if (!verdict.hidden) card.now = verdict;
      }
      for (const layer of card.layers) layer.toggleAttribute("hidden", layer.dataset.protocol !== protocol);
      card.all?.toggleAttribute("hidden", !all);
    }
    visible = cards.filter(
      (card) =>
        card.now &&
        (!wanted.tag || card.tag === wanted.tag) &&
        (!wanted.kept || card.kept === wanted.kept) &&
        (!wanted.kind || card.now.dataset.kind === wanted.kind) &&
        (!wanted.status || card.now.dataset.status === wanted.status) &&
        words.every((word) => card.search.includes(word)),
    );
    const order = orders[field("order")];
    visible.sort((a, b) => {
      const [x, y] = [order(a), order(b)];
      return x === y ? a.place - b.place : x < y ? -1 : 1;
    });
    grid.replaceChildren(...visible.map((card) => card.node));
    nothing.hidden = visible.length > 0;
    count.textContent = visible.length === cards.length ? `${cards.length} images` : `${visible.length} of ${cards.length} images`;
  }
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();

  const dialog = document.querySelector("dialog");
  const stage = dialog.querySelector(".stage");
  let shown = 0;
  function show(place) {
    shown = (place + visible.length) % visible.length;
    const copy = visible[shown].node.cloneNode(true);
    const picture = copy.querySelector("button.picture");
    if (picture) {
      const still = document.createElement("div");
      still.className = "picture";
      still.style.aspectRatio = picture.style.aspectRatio;
      still.append(...picture.childNodes);
      picture.replaceWith(still);
    }
    stage.replaceChildren(copy);
  }
  grid.addEventListener("click", (event) => {
    const card = event.target.closest("button.picture")?.closest(".card");
    if (!card) return;
    show(visible.findIndex((entry) => entry.node === card));
    dialog.showModal();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    const step = event.target.dataset?.step;
    if (step) show(shown + Number(step));
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") show(shown + 1);
    if (event.key === "ArrowLeft") show(shown - 1);
  });
  dialog.addEventListener("close", () => visible[shown]?.node.querySelector("button.picture")?.focus());
})();
