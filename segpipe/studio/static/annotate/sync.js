/**
 * Keeps prompts in step with the server: saves by itself, waits while nobody answers, loses nothing.
 *
 * What was done and is not saved yet lies in the browser's storage, so it outlives the page. A batch
 * that was sent is sent again word for word until it is answered: the server makes of a batch that
 * comes twice what it made of it once.
 *
 * @typedef {import("./prompts.js").Operation} Operation
 * @typedef {import("./prompts.js").Prompts} Prompts
 * @typedef {Prompts & {tag: string}} Document
 * @typedef {"saved" | "saving" | "offline" | "broken" | "login" | "asking"} State
 * @typedef {{state: State, waiting: number, detail: string}} Status
 */

import { promptRules } from "./prompts.js";
import { adopted, keep, keyOf } from "./unsaved.js";

const SEND_AFTER_MS = 250;
const POLL_MS = 2_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5_000;
const ANSWER_WITHIN_MS = 15_000;

export class PromptSync extends EventTarget {
  /** @type {Document} */ base;
  /** @type {Operation[][]} The first has perhaps been sent. */ #batches = [];
  /** Whether more may be joined to the last batch: not when it may have been sent. */ #isOpen = false;
  /** @type {Operation[]} */ #asked = [];
  /** @type {Prompts | null} */ #shown = null;
  /** @type {State} */ #state = "saved";
  #detail = "";
  /** @type {Promise<void> | null} */ #sending = null;
  #retry = FIRST_RETRY_MS;
  #timer = 0;
  #poll = 0;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {Document} options.document What the page came with.
   * @param {any} [options.rules] What is to be known of this kind of document: see `promptRules`.
   * @param {number} [options.pollMs] How often to see what others do; 0 for only when asked.
   * @param {Storage} [options.storage]
   * @param {Storage} [options.session]
   * @param {typeof fetch} [options.fetch]
   */
  constructor(options) {
    super();
    const { url, document, storage = localStorage, session = sessionStorage, fetch = globalThis.fetch } = options;
    this.rules = options.rules ?? promptRules;
    this.pollMs = options.pollMs ?? POLL_MS;
    this.url = url;
    this.base = document;
    this.storage = storage;
    this.fetch = (...request) => fetch(...request);
    this.key = keyOf(url, session);
    this.#batches = adopted(storage, url, this.key);
    this.#persist();
    if (this.#batches.length) this.#later(0);
    this.#pollLater();
  }

  /** What is drawn now, saved or not. @returns {Prompts} */
  get prompts() {
    this.#shown ??= this.rules.applied(this.base, [...this.#batches.flat(), ...this.#asked]);
    return this.#shown;
  }

  /** @returns {Status} */
  get status() {
    return { state: this.#state, waiting: this.#batches.flat().length, detail: this.#detail };
  }

  /** Do something, and save it soon. */
  push(/** @type {Operation[]} */ operations) {
    if (!operations.length) return;
    if (this.#isOpen && this.#batches.length) {
      const last = this.#batches.pop();
      const joined = this.rules.compacted([...last, ...operations]);
      if (joined.length) this.#batches.push(joined);
      else this.#isOpen = false;
    } else {
      this.#batches.push(this.rules.compacted(operations));
      this.#isOpen = true;
    }
    this.#persist();
    this.#changed();
    if (!this.#sending && this.#state === "saved") this.#say("saving");
    else this.#tell();
    if (this.#state !== "offline" && this.#state !== "broken") this.#later(SEND_AFTER_MS);
  }

  /** Answer what was asked: with true what this person did is done all the same. */
  resolve(/** @type {boolean} */ isMine) {
    const asked = this.#asked;
    this.#asked = [];
    this.#changed();
    this.#say("saving");
    if (isMine) this.push(asked.map((operation) => this.rules.rebased(operation, this.base)).filter(Boolean));
    this.#later(0);
  }

  /** Save now, and wait for the answer; true when everything is saved. */
  async flush() {
    clearTimeout(this.#timer);
    let before;
    do {
      before = this.#batches.length;
      await this.#send();
    } while (this.#batches.length && this.#batches.length < before);
    return !this.#batches.length && this.#state === "saved";
  }

  /** Try again at once: the network is back, or somebody came back to the page. */
  hurry() {
    this.#retry = FIRST_RETRY_MS;
    this.#later(0);
  }

  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#poll);
  }

  #later(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), ms);
  }

  #pollLater() {
    if (!this.pollMs) return;
    this.#poll = setTimeout(async () => {
      await this.look();
      this.#pollLater();
    }, this.pollMs);
  }

  /** Send the first batch, or wait for the answer to it. @returns {Promise<void>} */
  async #send() {
    if (this.#asked.length) return;
    if (this.#sending || this.#batches.length) {
      this.#sending ??= this.#sendFirst().finally(() => (this.#sending = null));
      await this.#sending;
    } else if (this.#state !== "saved") {
      await this.look();
    }
  }

  async #sendFirst() {
    const batch = this.#batches[0];
    if (this.#batches.length === 1) this.#isOpen = false;
    if (this.#state === "saved") this.#say("saving");
    await this.#take(await this.#ask("PATCH", { operations: batch }), batch);
  }

  async #take(answer, batch) {
    if (!answer) {
      this.#wait("offline", "The studio does not answer.");
    } else if (answer.ok) {
      this.#batches.shift();
      this.#retry = FIRST_RETRY_MS;
      this.#accept(answer.body, batch);
      if (this.#batches.length) this.#later(0);
      else this.#say("saved");
    } else if (answer.status === 412 && this.rules.touchedBy(answer.body)) {
      this.#askPerson(answer.body);
    } else if (answer.status === 401) {
      this.#wait("login", "You are logged out: log in again in another tab.");
    } else if (answer.status === 400 && !/File|Prompts/.test(answer.body.error)) {
      this.#refuse(answer.body.detail);
    } else {
      this.#wait(answer.status >= 500 ? "offline" : "broken", answer.body.detail ?? "");
    }
  }

  /** What the server will never take is taken back, so that the rest is saved. */
  #refuse(detail) {
    this.#batches.shift();
    this.#persist();
    this.#changed();
    this.dispatchEvent(new CustomEvent("refused", { detail }));
    if (this.#batches.length) this.#later(0);
    else this.#say("saved");
  }

  #askPerson(problem) {
    const annotations = this.rules.touchedBy(problem);
    const touched = new Set(annotations);
    const concerns = (operation) => touched.has(this.rules.subjectOf(operation));
    // What was done to the same things since is part of the question.
    this.#asked = this.rules.compacted(this.#batches.flat().filter(concerns));
    this.#batches = this.#batches
      .map((each) => each.filter((operation) => !concerns(operation)))
      .filter((each) => each.length);
    this.#isOpen = false;
    this.#accept(problem.document, []);
    this.#say("asking", annotations.join(", "));
    this.dispatchEvent(new CustomEvent("conflict", { detail: { operations: this.#asked, annotations } }));
  }

  #wait(/** @type {State} */ state, detail) {
    this.#say(state, detail);
    this.#later(this.#retry);
    this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY_MS);
  }

  /** See whether somebody else has changed something. */
  async look() {
    if (this.#sending || globalThis.document?.hidden) return;
    if (this.#batches.length || this.#asked.length) return;
    const answer = await this.#ask("GET");
    if (this.#sending || this.#batches.length || this.#asked.length) return;
    if (!answer) this.#say("offline", "The studio does not answer.");
    else if (answer.status === 304) this.#say("saved");
    else if (answer.ok) {
      this.#accept(answer.body, []);
      this.#say("saved");
    } else if (answer.status === 401) this.#say("login", "You are logged out: log in again in another tab.");
    else this.#say(answer.status >= 500 ? "offline" : "broken", answer.body.detail ?? "");
  }

  /** Take over what the server has, and tell of what others have changed. */
  #accept(/** @type {Document} */ document, /** @type {Operation[]} */ own) {
    const expected = this.rules.applied(this.base, own);
    this.base = this.rules.read(document);
    keepObjects(this.rules.listOf(expected), this.rules.listOf(this.base));
    this.#persist();
    this.#changed();
    const others = this.rules.differences(expected, this.base);
    if (others.length) this.dispatchEvent(new CustomEvent("others", { detail: { ids: others, before: expected } }));
  }

  async #ask(method, body) {
    const headers = body
      ? { "Content-Type": "application/json" }
      : { "If-None-Match": `"${this.base.tag}"` };
    try {
      const response = await this.fetch(this.url, {
        method,
        headers: { Accept: "application/json", ...headers },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
        cache: "no-store",
        redirect: "error",
      });
      const text = response.status === 304 ? "" : await response.text();
      return { status: response.status, ok: response.ok, body: parsed(text) };
    } catch {
      return null;
    }
  }

  #persist() {
    keep(this.storage, this.key, [this.#asked, ...this.#batches].filter((batch) => batch.length));
  }

  #changed() {
    const before = this.#shown;
    this.#shown = null;
    if (before) keepObjects(this.rules.listOf(before), this.rules.listOf(this.prompts));
    this.dispatchEvent(new Event("change"));
  }

  #say(/** @type {State} */ state, detail = "") {
    const isSame = state === this.#state && detail === this.#detail;
    this.#state = state;
    this.#detail = detail;
    if (!isSame) this.#tell();
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("status", { detail: this.status }));
  }
}

/** Equal annotations stay the same objects, so that what is kept of them stays, too. */
function keepObjects(before, now) {
  const known = new Map(before.map((each) => [each.id, each]));
  now.forEach((each, index) => {
    const same = known.get(each.id);
    if (same && JSON.stringify(same) === JSON.stringify(each)) now[index] = same;
  });
}

function parsed(text) {
  try {
    return JSON.parse(text || "{}");
  } catch {
    return {};
  }
}
