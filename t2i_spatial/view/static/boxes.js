// Boxes as an SVG and masks as a canvas over a picture, in the picture's own pixels.

import { h, svg } from "./dom.js";

export function overlay(width, height, boxes) {
  if (!width || !height || !boxes.length) return null;
  const unit = Math.max(width, height) / 100;
  const layer = svg("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", preserveAspectRatio: "xMidYMid meet" });
  for (const box of boxes) {
    const [x1, y1, x2, y2] = box.box;
    const [w, t] = [Math.max(0, x2 - x1), Math.max(0, y2 - y1)];
    layer.append(svg("rect", { class: box.role, x: x1, y: y1, width: w, height: t }));
    const label = box.score === null || box.score === undefined ? box.label : `${box.label} ${box.score.toFixed(2)}`;
    if (box.role === "found" && boxes.length > 12) continue;
    const long = Math.min(width, unit * (2 + label.length * 2.35));
    const left = Math.max(0, Math.min(x1, width - long));
    const top = Math.max(0, y1 - unit * 5.6);
    layer.append(
      svg("rect", { class: `tab ${box.role}`, x: left, y: top, width: long, height: unit * 5.6 }),
      svg("text", { x: left + unit, y: top + unit * 4.2, "font-size": unit * 4.3 }, label),
    );
  }
  return layer;
}

const COLORS = [[31, 111, 214], [217, 122, 0], [122, 85, 199], [26, 127, 90], [192, 57, 43]];

// Run lengths down the columns, zeros first.
export function maskCanvas(masks, width, height) {
  const canvas = h("canvas", { class: "masks", width, height, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  masks.forEach((runs, number) => {
    const color = COLORS[number % COLORS.length];
    let place = 0;
    runs.forEach((length, k) => {
      if (k % 2) {
        for (let i = place; i < place + length; i++) {
          const at = 4 * ((i % height) * width + Math.floor(i / height));
          pixels.data.set([...color, 130], at);
        }
      }
      place += length;
    });
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// A picture with its overlay; where there is none, why.
export function picture({ address, alt, width, height, boxes = [], problem }) {
  const frame = h("span", { class: "picture" });
  if (!address) {
    frame.classList.add("empty");
    frame.append(h("span", {}, problem ?? "no image"));
    return frame;
  }
  const image = h("img", { src: address, alt, decoding: "async", draggable: "false" });
  image.addEventListener("error", () => {
    frame.classList.add("empty");
    frame.replaceChildren(h("span", {}, problem ?? "the image cannot be read"));
  });
  frame.append(image);
  const layer = overlay(width, height, boxes);
  if (layer) frame.append(layer);
  return frame;
}
