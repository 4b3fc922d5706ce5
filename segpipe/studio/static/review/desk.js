/**
 * What a reviewer goes through: the queue, what was decided, undo to any depth; knows no buttons.
 *
 * @typedef {import("./decisions.js").Said} Said
 * @typedef {import("./decisions.js").Operation} Operation
 * @typedef {{deal: string, image: string, key: string, detection: number, box: number[], score: number, label: string | null, state: string}} Item
 * @typedef {{name: string, at: Item | null, parts: {deal: string, image: string, operations: Operation[]}[]}} Step
 */

import { ask } from "./ask.js";
import { decide, decisionOf, saidOf, turnedRound } from "./decisions.js";
import { ItemLeases } from "./leases.js";
import { LoadedPhotos } from "./loaded_photos.js";

const STATES = { accept: "accepted", reject: "rejected", edit: "edited", add: "added" };
const OPEN = new Set(["unreviewed", "changed"]);
/** So many items ahead are loaded, and taken for oneself. */
const AHEAD = 12;
const POLL_MS = 3_000;
const LEASE_MS = 20_000;

export class ReviewDesk extends EventTarget {
  /** @type {Item[]} */ items = [];
  /** Photos by deal and image: what they are called, how large. */ photos = new Map();
  place = -1;
  total = 0;
  /** @type {Step[]} */ #done = [];
  /** @type {Step[]} */ #undone = [];
  /** @type {ItemLeases} */ #leases;
  #timers = [];

  /**
   * @param {object} options
   * @param {string[]} options.deals
   * @param {string} options.mode
   * @param {{order: string, percent: number, seed: number}} options.choice
   * @param {boolean} options.mayDecide
   * @param {string} options.tab
   */
  constructor({ deals, mode, choice, mayDecide, tab }) {
    super();
    Object.assign(this, { deals, mode, choice, mayDecide });
    this.#leases = new ItemLeases(mode, tab);
    this.loaded = new LoadedPhotos(mode, (kind, detail) => this.#tell(kind, detail));
  }

  /** Read the queue, and be ready for the first item. */
  async open() {
    const query = new URLSearchParams({ mode: this.mode, ...this.choice });
    for (const deal of this.deals) {
      const queue = await ask(`/api/deals/${encodeURIComponent(deal)}/review/queue?${query}`);
      this.total += queue.total;
      for (const [image, photo] of Object.entries(queue.photos)) this.photos.set(`${deal}/${image}`, photo);
      this.items.push(...queue.items.map((item) => ({ ...item, deal })));
    }
    this.#timers.push(setInterval(() => this.#look(), POLL_MS), setInterval(() => this.#lease(true), LEASE_MS));
    await this.#lease();
    await this.go(this.#nextOpen(-1));
  }

  /** @returns {Item | null} */
  get current() {
    return this.items[this.place] ?? null;
  }

  /** How an item stands now, with what is not saved yet. */
  stateOf(/** @type {Item} */ item) {
    const photo = this.photoOf(item);
    if (!photo) return item.state;
    const decision = decisionOf(photo.sync.prompts, item.key);
    if (decision) return STATES[decision.verdict];
    const known = photo.items.find((each) => each.key === item.key);
    const wasDecided = decisionOf(photo.first, item.key);
    return wasDecided ? "unreviewed" : (known?.state ?? item.state);
  }

  /** Whether nobody has decided about an item. */
  isOpen(/** @type {Item} */ item) {
    return OPEN.has(this.stateOf(item));
  }

  /** How many items nobody has decided about. */
  get left() {
    return this.items.filter((item) => this.isOpen(item)).length;
  }

  /** Of the items of the queue: decided, and of these what is an item. */
  get tally() {
    const states = this.items.map((item) => this.stateOf(item));
    const right = states.filter((state) => state === "accepted" || state === "edited").length;
    return { right, decided: right + states.filter((state) => state === "rejected").length };
  }

  /** A photo that is loaded, or null. */
  photoOf(item) {
    return item ? this.loaded.of(item) : null;
  }

  /** Load the photo of an item. */
  load(item) {
    return this.loaded.load(item);
  }

  /** Read the outlines of a photo anew: somebody has drawn a mask, or taken one back. */
  async refresh(item) {
    await this.loaded.refresh(item);
    this.#tell("show");
  }

  /** The items that are shown next, with this one. @returns {Item[]} */
  ahead(count = AHEAD, from = this.place) {
    const found = [];
    for (let place = Math.max(from, 0); place < this.items.length && found.length < count; place += 1) {
      const item = this.items[place];
      if (place === from || (this.isOpen(item) && !this.#leases.holderOf(item))) found.push(item);
    }
    return found;
  }

  /** Show another item, once its photo is loaded. */
  async go(place) {
    this.place = place;
    const item = this.current;
    if (item) await this.load(item);
    if (this.current !== item) return;
    this.#tell("show");
    this.ahead().forEach((each) => this.load(each).catch(() => {}));
    this.#lease();
  }

  next() {
    return this.go(this.#nextOpen(this.place));
  }

  /** Show the item before, or after, decided or not. */
  step(by) {
    const place = this.place < 0 ? this.items.length + Math.min(by, 0) : this.place + by;
    if (this.items[place]) return this.go(place);
    return Promise.resolve();
  }

  /** Decide about the item that is shown, and go on. @returns {boolean} Whether it was decided. */
  decide(name, /** @type {Said} */ said) {
    const item = this.current;
    const photo = this.photoOf(item);
    if (!item || !photo) return false;
    this.commit(name, [this.#part(item, [decide(photo.sync.prompts, item.key, said)])]);
    this.next();
    return true;
  }

  /** Decide about several items at once, of loaded photos. */
  decideAll(name, /** @type {[Item, Said][]} */ decisions) {
    const parts = decisions
      .filter(([item]) => this.photoOf(item))
      .map(([item, said]) => this.#part(item, [decide(this.photoOf(item).sync.prompts, item.key, said)]));
    this.commit(name, parts);
  }

  /** Remember something as one step, and do it; or only remember it. */
  commit(name, parts, isDone = false) {
    if (!parts.length) return;
    this.#done.push({ name, at: this.current, parts });
    this.#undone = [];
    if (!isDone) this.#push(parts);
    this.#tell("change", name);
  }

  /** Take the last step back. @returns {Promise<string | null>} What it was. */
  undo() {
    return this.#turn(this.#done, this.#undone, (parts) =>
      parts.map((part) => ({ ...part, operations: turnedRound(part.operations) })).reverse(),
    );
  }

  /** Do the step again that was taken back last. */
  redo() {
    return this.#turn(this.#undone, this.#done, (parts) => parts);
  }

  /** Accept all that is open, in all photos of the queue. */
  async acceptRest() {
    const parts = [];
    for (const deal of this.deals) {
      const mine = [...this.photos.keys()].filter((name) => name.startsWith(`${deal}/`));
      const images = mine.map((name) => name.slice(deal.length + 1));
      await Promise.all(images.map((image) => this.photoOf({ deal, image })?.sync.flush()));
      const url = `/api/deals/${encodeURIComponent(deal)}/review/accept?mode=${this.mode}`;
      const { photos } = await ask(url, { method: "POST", body: JSON.stringify({ images }) });
      for (const [image, keys] of Object.entries(photos)) {
        const operations = keys.map((key) => ({ op: "decide", key, was: null, to: { verdict: "accept" } }));
        parts.push({ deal, image, operations });
        await this.photoOf({ deal, image })?.sync.look();
        this.#markAccepted(deal, image, keys);
      }
    }
    this.commit("Accepted the rest", parts, true);
    await this.next();
    return parts.reduce((sum, { operations }) => sum + operations.length, 0);
  }

  /** Show an item of the photo that is shown, also one that is not in the queue. */
  pick(key) {
    const { deal, image } = this.current;
    let place = this.items.findIndex((each) => each.deal === deal && each.image === image && each.key === key);
    if (place < 0) {
      const known = this.photoOf(this.current).items.find((each) => each.key === key);
      this.items.splice(this.place + 1, 0, { ...known, deal, image });
      place = this.place + 1;
    }
    return this.go(place);
  }

  /** Say that a photo is done, or that it is not. */
  turnDone() {
    const item = this.current;
    const { done } = this.photoOf(item).sync.prompts;
    this.commit(done ? "Photo not done" : "Photo done", [this.#part(item, [{ op: "done", to: !done }])]);
    return !done;
  }

  close() {
    this.#timers.forEach(clearInterval);
    if (this.mayDecide) this.#leases.release();
    this.loaded.close();
  }

  #part({ deal, image }, operations) {
    return { deal, image, operations };
  }

  #push(parts) {
    for (const part of parts) this.photoOf(part)?.sync.push(part.operations);
  }

  async #turn(from, to, turned) {
    const step = from.pop();
    if (!step) return null;
    to.push(step);
    const parts = turned(step.parts);
    await Promise.all(parts.map((part) => this.photoOf(part) ?? this.load(part)));
    this.#push(parts);
    const isDrawn = parts.some(({ operations }) => operations.some(({ was, to }) => was?.mask || to?.mask));
    if (isDrawn) await Promise.all(parts.map((part) => this.refresh(part)));
    const place = this.items.indexOf(step.at);
    if (place >= 0) await this.go(place);
    else this.#tell("show");
    this.#tell("change", step.name);
    return step.name;
  }

  #nextOpen(from) {
    const isFree = (item) => this.isOpen(item) && !this.#leases.holderOf(item);
    const after = this.items.findIndex((item, place) => place > from && isFree(item));
    return after >= 0 ? after : this.items.findIndex(isFree);
  }

  #markAccepted(deal, image, keys) {
    const accepted = new Set(keys);
    for (const item of this.items) {
      if (item.deal === deal && item.image === image && accepted.has(item.key)) item.state = "accepted";
    }
  }

  /** See what others have decided about the photo that is shown. */
  #look() {
    if (!document.hidden) this.photoOf(this.current)?.sync.look();
  }

  /** Take the next items for oneself, and leave out those that others have. */
  async #lease(isRenewal = false) {
    if (!this.mayDecide) return;
    await this.#leases.take(this.ahead(AHEAD), isRenewal);
    const holder = this.current && this.#leases.holderOf(this.current);
    if (!holder) return;
    this.#tell("met", holder);
    await this.next();
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

/** The decision about an item, saved or not. @returns {Said | null} */
export function saidAbout(desk, item) {
  const photo = desk.photoOf(item);
  return photo ? saidOf(decisionOf(photo.sync.prompts, item.key)) : null;
}
