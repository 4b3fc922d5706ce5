// What a trial asks and answers, apart from the page: fields to settings, answers to words.

const MOST = 5;

/**
 * What somebody entered, as JSON.
 * @param {string} text @param {string} control
 */
export function typed(text, control) {
  const bare = text.trim();
  if (bare === "nothing") return null;
  if (bare === "true" || bare === "false") return bare === "true";
  if (control === "number" && bare !== "") return Number.isNaN(Number(bare)) ? bare : Number(bare);
  if (bare.startsWith("[") && bare.endsWith("]")) {
    const items = bare.slice(1, -1).split(",").map((item) => item.trim()).filter(Boolean);
    return items.map((item) => (Number.isNaN(Number(item)) ? item.replace(/^['"]|['"]$/g, "") : Number(item)));
  }
  return bare;
}

/**
 * Settings of fields by their paths: {"http.max_attempts": 2} is {http: {max_attempts: 2}}.
 * @param {[string, unknown][]} fields
 */
export function nested(fields) {
  const settings = {};
  for (const [path, value] of fields) {
    const parts = path.split(".");
    const last = parts.pop();
    let place = settings;
    for (const part of parts) place = place[part] ??= {};
    place[last] = value;
  }
  return settings;
}

/** The texts of a line: "ring, bracelet". */
export function textsOf(line) {
  return line.split(",").map((text) => text.trim()).filter(Boolean);
}

/** What an answer found, in a line: "7 of 9 kept · Pass 1: 7 · Pass 2: 2 · stopped: …". */
export function inWords(answer) {
  const found = answer.detections.length;
  const parts = [answer.kept_indices ? `${answer.kept_indices.length} of ${found} kept` : `${found} found`];
  answer.pass_stats.forEach((pass, index) => parts.push(`Pass ${index + 1}: ${pass.new}`));
  const stopped = answer.pass_stats.at(-1)?.stopped;
  if (stopped) parts.push(`stopped: ${stopped}`);
  parts.push(`${(answer.elapsed_ms / 1000).toFixed(2)} s`);
  if (answer.usage.calls) parts.push(`${answer.usage.calls} paid calls, ${answer.usage.cost} credits`);
  return parts.join(" · ");
}

/** What beat a rejected one: "#5: beaten by #3, iou 0.82". */
export function beaten(index, by) {
  return `#${index}: beaten by #${by.detection}, ${by.criterion} ${by.value.toFixed(2)}`;
}

/** The last few results, the newest last. */
export class LastResults {
  constructor() {
    this.results = [];
    this.shown = -1;
  }

  add(result) {
    this.results.push(result);
    if (this.results.length > MOST) this.results.shift();
    this.shown = this.results.length - 1;
  }

  get current() {
    return this.results[this.shown];
  }

  /** The next one, to blink between them. */
  next() {
    if (this.results.length) this.shown = (this.shown + 1) % this.results.length;
    return this.current;
  }
}
