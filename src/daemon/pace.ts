/** How often the engine looks at what came, so that looking never keeps the daemon from taking in packets. */

/** From one look to the next, where looking takes little. */
const EVERY_MS = 250;
/** At the latest, whatever it takes. */
const LATEST_MS = 2000;
/** Looking may take one part of the time in so many. */
const SHARE = 3;

/** Milliseconds to wait after a look that took so many: records come later when there is much to judge, and no packet is lost for it. */
export function pauseAfter(tookMs: number): number {
  return Math.min(Math.max(EVERY_MS - tookMs, (SHARE - 1) * tookMs), LATEST_MS);
}
