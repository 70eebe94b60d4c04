// Marks the searched words: in search snippets, which contain marks, and in a conversation, which does not.

import { el } from "./dom.js";

/** Escapes in the API's snippets. @type {Record<string, string>} */
const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&#x27;": "'", "&#x2F;": "/" };

/**
  * Returns a snippet as nodes: `<mark>` and `</mark>` become elements, escapes are decoded, and everything else is
  * text.
 * @param {string} text
 * @returns {(string | HTMLElement)[]}
 */
export function snippet(text) {
  const plain = (/** @type {string} */ part) => part.replace(/&(?:amp|lt|gt|quot|#39|#x27|#x2F);/g, (entity) => ENTITIES[entity]);
  return text.split(/(<mark>.*?<\/mark>)/s).filter(Boolean).map((part) => {
    const marked = /^<mark>(.*)<\/mark>$/s.exec(part);
    return marked ? el("mark", null, plain(marked[1])) : plain(part);
  });
}

/** Returns a text for comparison: without case and accents, with the same length. @param {string} text */
function folded(text) {
  return [...text].map((c) => {
    const bare = c.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
    return bare.length === c.length ? bare : c;
  }).join("");
}

/** Returns the words of a query to mark, and whether each is a prefix. @param {string} query */
function wordsOf(query) {
  const wanted = query.replace(/\bNOT\s+("[^"]*"|\S+)/g, " ");
  const words = wanted.match(/[\p{L}\p{N}]+\*?/gu) ?? [];
  return words.filter((word) => word !== "AND" && word !== "OR")
    .map((word) => ({ word: folded(word.replace("*", "")), prefix: word.endsWith("*") }));
}

/**
  * Highlights the words of a query in some elements, without changing the DOM. Does nothing in older browsers.
 * @param {Iterable<Element>} elements
 * @param {string} query
 */
export function markFound(elements, query) {
  if (!("highlights" in CSS)) return;
  CSS.highlights.delete("found");
  const words = wordsOf(query);
  if (words.length === 0) return;
  const found = new Highlight();
  for (const element of elements) {
    const text = element.firstChild;
    if (!(text instanceof Text)) continue;
    for (const match of folded(text.data).matchAll(/[\p{L}\p{N}]+/gu)) {
      if (!words.some(({ word, prefix }) => (prefix ? match[0].startsWith(word) : match[0] === word))) continue;
      const range = new Range();
      range.setStart(text, match.index);
      range.setEnd(text, match.index + match[0].length);
      found.add(range);
    }
  }
  CSS.highlights.set("found", found);
}
