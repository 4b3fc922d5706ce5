/**
 * Items close up: the part of a photo around each, with its outline; loaded before it is needed.
 *
 * @typedef {{x: number, y: number, width: number, height: number}} Region Pixels of the photo.
 */

const AROUND_PART = 0.3;
const LEAST_AROUND_PX = 24;
const MOST_KEPT = 80;
const SVG = "http://www.w3.org/2000/svg";
/** Pictures by their address, the last used at the end. @type {Map<string, HTMLImageElement>} */
const kept = new Map();

/**
 * What is shown of a photo around a box.
 *
 * @param {number[]} box `xyxy`.
 * @param {{width: number, height: number}} photo
 * @returns {Region}
 */
export function regionAround([x1, y1, x2, y2], { width, height }) {
  const around = Math.max((x2 - x1) * AROUND_PART, (y2 - y1) * AROUND_PART, LEAST_AROUND_PX);
  const left = Math.max(Math.floor(x1 - around), 0);
  const top = Math.max(Math.floor(y1 - around), 0);
  return {
    x: left,
    y: top,
    width: Math.min(Math.ceil(x2 + around), width) - left,
    height: Math.min(Math.ceil(y2 + around), height) - top,
  };
}

/** The address of pictures of a photo. */
export function picturesOf({ deal, image }, { tag }) {
  return `/pictures/photos/${encodeURIComponent(deal)}/${encodeURIComponent(image)}/${tag}`;
}

/** A picture, perhaps loaded already. @returns {HTMLImageElement} */
export function picture(/** @type {string} */ url) {
  const known = kept.get(url);
  kept.delete(url);
  const image = known ?? Object.assign(new Image(), { src: url, alt: "" });
  kept.set(url, image);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  return image;
}

/** The address of the picture of an item close up. */
export function closeUpUrl(item, photo, side) {
  const { x, y, width, height } = regionAround(item.box, photo);
  return `${picturesOf(item, photo)}/${x},${y},${width},${height}/${side}`;
}

/** Load pictures before they are needed. */
export function preload(/** @type {string[]} */ urls) {
  for (const url of urls) picture(url).decode().catch(() => kept.delete(url));
}

/**
 * Show an item close up in a place.
 *
 * @param {HTMLElement} place
 * @param {object} what
 * @param {any} what.item
 * @param {{width: number, height: number, tag: string}} what.photo
 * @param {string} what.path Its outline, relative to its box.
 * @param {number[]} what.box The box of the outline.
 * @param {number} what.side Pixels of the picture's longest side.
 * @param {string} [what.state]
 * @returns {HTMLImageElement}
 */
export function showCloseUp(place, { item, photo, path, box, side, state = "" }) {
  const region = regionAround(item.box, photo);
  const image = picture(closeUpUrl(item, photo, side));
  image.alt = "";
  place.replaceChildren(image, outline(region, path, box));
  place.dataset.state = state;
  return image;
}

function outline({ x, y, width, height }, path, [x1, y1, x2, y2]) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  svg.setAttribute("aria-hidden", "true");
  for (const name of ["halo", "line"]) {
    const line = document.createElementNS(SVG, path ? "path" : "rect");
    if (path) {
      line.setAttribute("d", path);
      line.setAttribute("transform", `translate(${x1} ${y1}) scale(${x2 - x1} ${y2 - y1})`);
    } else {
      const sides = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
      for (const [side, value] of Object.entries(sides)) line.setAttribute(side, String(value));
    }
    line.setAttribute("class", name);
    line.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(line);
  }
  return svg;
}
