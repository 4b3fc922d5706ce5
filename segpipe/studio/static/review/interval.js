/** How sure a share of a sample is. */

/** The quantile of the normal distribution that leaves 2.5 % on each side. */
const Z_95 = 1.959963984540054;

/**
 * Wilson's interval for a share: E. B. Wilson, "Probable inference, the law of succession, and
 * statistical inference", JASA 22 (1927).
 *
 * @param {number} hits
 * @param {number} trials More than 0.
 * @returns {[number, number]} 0 to 1, at 95 %.
 */
export function wilson(hits, trials, z = Z_95) {
  const share = hits / trials;
  const scale = 1 + (z * z) / trials;
  const middle = (share + (z * z) / (2 * trials)) / scale;
  const half = (z / scale) * Math.sqrt((share * (1 - share)) / trials + (z * z) / (4 * trials * trials));
  return [Math.max(middle - half, 0), Math.min(middle + half, 1)];
}
