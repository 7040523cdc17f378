/** A strip with a bar for each character, in the colour and the height of its value. */
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;

/** Draws `values` between `-most` (or 0 without negative ones) and `most` into `place`; `tintOf(value)` is a class. */
export function drawStrip(place, values, { low, most, tintOf, label, choose }) {
  const svg = made("svg", { viewBox: `0 0 ${values.length} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  svg.setAttribute("aria-label", label);
  const zero = low < 0 ? HEIGHT / 2 : HEIGHT;
  const unit = (low < 0 ? HEIGHT / 2 : HEIGHT) / most;
  values.forEach((value, n) => {
    svg.append(made("rect", { class: `ground ${tintOf(value)}`, x: n, y: 0, width: 1.03, height: HEIGHT }));
  });
  const points = [...values].map((value, n) => `${n + 0.5},${(zero - value * unit).toFixed(1)}`);
  if (low < 0) svg.append(made("line", { class: "zero", x1: 0, x2: values.length, y1: zero, y2: zero }));
  svg.append(made("polyline", { class: "curve", points: points.join(" ") }));
  const mark = made("rect", { class: "mark", x: -9, y: 0, width: 1, height: HEIGHT });
  svg.append(mark);
  svg.addEventListener("pointermove", ({ clientX }) => {
    const box = svg.getBoundingClientRect();
    choose(Math.min(values.length - 1, Math.floor((values.length * (clientX - box.left)) / box.width)));
  });
  place.replaceChildren(svg);
  return (n) => mark.setAttribute("x", n ?? -9);
}

function made(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
