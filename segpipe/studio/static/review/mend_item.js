/**
 * Mends an item of a photo: the masks are fetched, and each step becomes decisions that are saved.
 *
 * @typedef {import("./loaded_photos.js").LoadedPhoto} LoadedPhoto
 * @typedef {import("./decisions.js").Operation} Operation
 */

import { newId } from "../annotate/prompts.js";
import { hits } from "../annotate/scene.js";
import { MaskSession } from "../mask/mask_session.js";
import { ask } from "./ask.js";
import { Mending } from "./mending.js";

/**
 * Begin to mend.
 *
 * @param {object} options
 * @param {LoadedPhoto} options.loaded
 * @param {string} options.mode
 * @param {string | null} options.key Of the item; null draws a new one.
 * @param {import("../annotate/surface.js").Surface} options.surface
 * @param {HTMLElement} options.tools
 * @param {{width: number, height: number}} options.photo
 * @param {() => any[]} options.drawn All items of the photo as they are drawn, their keys as ids.
 * @param {(text: string) => void} options.say
 * @param {(operations: Operation[]) => void} options.onEnd Is given what was done as one step; none
 *   when all was left as it was.
 * @returns {Promise<MaskSession>}
 */
export async function mendItem({ loaded, mode, key: given, surface, tools, photo, drawn, say, onEnd }) {
  const key = given ?? newId();
  const masksOf = (name) => ask(`${loaded.url}/masks/${name}?mode=${mode}`);
  const masks = given ? await masksOf(given) : { now: null };
  const isNew = !given || loaded.items.find((each) => each.key === key)?.state === "added";
  const mending = new Mending({ key, isNew, review: () => loaded.sync.prompts });
  const others = () => drawn().filter((each) => each.id !== key);
  const end = (isKept) => {
    const operations = isKept ? mending.step() : [];
    if (!isKept) loaded.sync.push(mending.leave());
    session.close();
    tools.hidden = true;
    onEnd(operations);
    say(operations.length ? "Kept" : "Left as it was");
  };
  const askCandidates = async (points) => {
    try {
      const url = loaded.url.replace(/review$/, "candidates");
      return (await ask(url, { method: "POST", body: JSON.stringify({ points }) })).items;
    } catch (error) {
      say(error.message);
      return [];
    }
  };
  const session = new MaskSession({
    surface,
    tools,
    photo,
    before: masks.now,
    made: { coarse: masks.coarse, refined: masks.refined },
    others,
    hit: (place) => hits(others(), place)[0]?.id ?? null,
    askMask: async (other) => (await masksOf(other)).now,
    askCandidates,
    onChange: (editor) => loaded.sync.push(mending.operations(editor)),
    onEnd: end,
    say,
  });
  tools.hidden = false;
  surface.element.focus({ preventScroll: true });
  session.run("brush");
  return session;
}
