// Two small charts: stacked columns, one per day, and bars of shares. Each has a description in words, and a table
// beside it has the numbers.

import { el, show, svg } from "./dom.js";

/** @typedef {{ key: string, name: string }} Series a stacked series; `key` is also the CSS class with its colour */

/**
  * Returns a drawing that is redrawn when its width changes.
 * @param {(width: number) => Node} draw
 */
function drawing(draw) {
  const place = el("div", { class: "drawing" });
  let width = 0;
  new ResizeObserver(() => {
    if (place.clientWidth === width || place.clientWidth === 0) return;
    width = place.clientWidth;
    show(place, draw(width));
  }).observe(place);
  return place;
}

/** Rounds up to a round number, for the end of a scale. @param {number} value */
function roundUp(value) {
  const step = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  // Even, so the middle of the scale is a whole number of calls too.
  const ends = [1, 1.2, 1.4, 1.6, 2, 3, 4, 5, 6, 8, 10].map((n) => Math.round(n * step)).filter((n) => n % 2 === 0);
  return Math.max(ends.find((n) => n >= value) ?? step * 10, 4);
}

/**
 * @param {{ label: string, says: string, values: Record<string, number> }[]} columns
  * @param {Series[]} series from bottom to top
  * @param {string} says description of the chart
 */
export function columns(columns, series, says) {
  const [height, bottom, top] = [200, 22, 8];
  const total = (/** @type {Record<string, number>} */ values) => series.reduce((sum, { key }) => sum + values[key], 0);
  const end = roundUp(Math.max(...columns.map(({ values }) => total(values))));
  const left = 13 + widthOf(end.toLocaleString());
  const y = (/** @type {number} */ value) => height - bottom - (value / end) * (height - bottom - top);
  return drawing((width) => {
    const step = (width - left) / columns.length;
    const thick = Math.max(1, Math.min(step * 0.72, 36));
    // As many labels as fit.
    const every = Math.max(1, Math.ceil(72 / step));
    return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": says },
      [0, 0.5, 1].map((part) => [
        svg("line", { class: "grid", x1: left, x2: width, y1: y(end * part), y2: y(end * part) }),
        svg("text", { x: left - 8, y: y(end * part) + 4, "text-anchor": "end" }, (end * part).toLocaleString()),
      ]).flat(),
      columns.flatMap(({ label, says, values }, n) => {
        const middle = left + step * (n + 0.5);
        let below = 0;
        const parts = series.filter(({ key }) => values[key] > 0).map(({ key }) => {
          const part = svg("rect", { class: key, x: middle - thick / 2, width: thick, y: y(below + values[key]), height: y(below) - y(below + values[key]) });
          below += values[key];
          return part;
        });
        const last = (columns.length - 1 - n) % every === 0;
        return [
          svg("g", null, svg("title", null, says), svg("rect", { class: "reach", x: left + step * n, width: step, y: top, height: height - bottom - top }), parts),
          last && svg("text", { x: Math.min(middle, width - widthOf(label) / 2), y: height - 5, "text-anchor": "middle" }, label),
        ];
      }));
  });
}

/**
 * @param {{ name: string, says: string, values: Record<string, number> }[]} rows
  * @param {Series[]} series from left to right
  * @param {string} says description of the chart
 */
export function shares(rows, series, says) {
  const [line, bar] = [44, 16];
  return drawing((width) => svg("svg", { width, height: line * rows.length, viewBox: `0 0 ${width} ${line * rows.length}`, role: "img", "aria-label": says },
    rows.map(({ name, says, values }, n) => {
      const whole = series.reduce((sum, { key }) => sum + values[key], 0);
      let x = 0;
      const parts = series.map(({ key }) => {
        const part = svg("rect", { class: key, x, y: line * n + 20, width: whole > 0 ? (values[key] / whole) * width : 0, height: bar });
        x += Number(part.getAttribute("width"));
        return part;
      });
      return svg("g", null, svg("title", null, says), svg("text", { class: "name", x: 0, y: line * n + 13 }, fitting(name, width - widthOf(says) - 12)),
        svg("text", { x: width, y: line * n + 13, "text-anchor": "end" }, says), parts);
    })));
}

/**
 * @param {{ name: string, says: string, value: number }[]} rows
  * @param {number} whole value of a bar over the full width
  * @param {string} says description of the chart
 */
export function bars(rows, whole, says) {
  const [line, bar] = [40, 12];
  return drawing((width) => svg("svg", { width, height: line * rows.length, viewBox: `0 0 ${width} ${line * rows.length}`, role: "img", "aria-label": says },
    rows.map(({ name, says, value }, n) => svg("g", null, svg("title", null, `${name}: ${says}`),
      svg("text", { class: "name", x: 0, y: line * n + 13 }, fitting(name, width - 120)),
      svg("text", { x: width, y: line * n + 13, "text-anchor": "end" }, says),
      svg("rect", { class: "rail", x: 0, y: line * n + 19, width, height: bar, rx: 2 }),
      svg("rect", { class: "completed", x: 0, y: line * n + 19, width: value > 0 ? Math.max(2, (value / whole) * width) : 0, height: bar, rx: 2 })))));
}

/** Returns about how wide a text is, in pixels. @param {string} text */
function widthOf(text) {
  return text.length * 7;
}

/** Shortens a text to about this width, in pixels. @param {string} text @param {number} width */
function fitting(text, width) {
  const most = Math.max(8, Math.floor(width / 7));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** Returns the legend of a chart. @param {Series[]} series */
export function legend(series) {
  return el("ul", { class: "legend" }, series.map(({ key, name }) => el("li", null,
    svg("svg", { viewBox: "0 0 11 11", "aria-hidden": "true" }, svg("rect", { class: key, width: 11, height: 11, rx: 2 })), name)));
}

/**
  * Returns a chart's numbers as a table, also for readers who cannot see the chart.
 * @param {string[]} head
 * @param {(string | number | Node)[][]} rows
 */
export function table(head, rows) {
  return el("details", null, el("summary", null, "Show as a table"),
    el("div", { class: "table", tabindex: "0", role: "region", "aria-label": `Table by ${head[0].toLowerCase()}` }, el("table", null,
      el("thead", null, el("tr", null, head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", null, rows.map(([first, ...rest]) => el("tr", null, el("th", { scope: "row", dir: "auto" }, first), rest.map((cell) => el("td", null, cell))))))));
}
