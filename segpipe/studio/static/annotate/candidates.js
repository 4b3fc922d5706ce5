/**
 * Points on and off one item, and the three readings of them that the segmenter offers.
 *
 * @typedef {import("./scene.js").Place} Place
 * @typedef {{box: [number, number, number, number], path: string, score: number}} Reading
 */

export class Candidates extends EventTarget {
  /** @type {{x: number, y: number, positive: boolean}[]} */ points = [];
  /** @type {Reading[]} */ readings = [];
  /** Which reading is shown. */ place = 0;
  isAsking = false;
  #asked = 0;

  /** @param {(points: object[]) => Promise<Reading[]>} ask */
  constructor(ask) {
    super();
    this.ask = ask;
  }

  /** The reading that is shown, or null. @returns {Reading | null} */
  get shown() {
    return this.readings[this.place] ?? null;
  }

  /** Place a point, and ask. */
  async add(/** @type {Place} */ [x, y], positive) {
    this.points = [...this.points, { x, y, positive }];
    if (!this.points.some((point) => point.positive)) {
      this.#tell();
      return;
    }
    const number = ++this.#asked;
    this.isAsking = true;
    this.#tell();
    try {
      const readings = await this.ask(this.points);
      if (number !== this.#asked) return;
      this.readings = readings;
      this.place = 0;
    } finally {
      if (number === this.#asked) {
        this.isAsking = false;
        this.#tell();
      }
    }
  }

  /** Show another reading. */
  choose(place) {
    if (!this.readings[place]) return;
    this.place = place;
    this.#tell();
  }

  /** Forget all of it. */
  clear() {
    this.#asked += 1;
    this.points = [];
    this.readings = [];
    this.place = 0;
    this.isAsking = false;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}
