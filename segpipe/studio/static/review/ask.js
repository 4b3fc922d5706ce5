/** Asks the studio's API. */

/**
 * What the API answers.
 *
 * @param {string} url
 * @param {RequestInit} [options]
 * @returns {Promise<any>} Raises an error that says what the studio said.
 */
export async function ask(url, options = {}) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  const response = await fetch(url, { ...options, headers });
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? `The studio said ${response.status}.`);
  return body;
}
