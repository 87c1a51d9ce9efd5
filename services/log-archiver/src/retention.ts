import { type Manifest, momentOf } from "./manifest.ts";

/** How many archives stay. */
export interface Retention {
  /** The newest ones. */
  last: number;
  /** The newest one of each of so many days. */
  daily: number;
  /** The newest one of each of so many weeks, which begin on Monday, UTC. */
  weekly: number;
}

/**
 * The archives that no rule keeps. The newest one and the newest complete one always stay, and an incomplete one
 * never stands for its day or week where that has a complete one.
 */
export function expired(manifests: Manifest[], { last, daily, weekly }: Retention): Manifest[] {
  const newestFirst = manifests.toSorted((a, b) => (a.archive < b.archive ? 1 : -1));
  const kept = new Set(newestFirst.slice(0, Math.max(1, last)));
  const complete = newestFirst.find((manifest) => manifest.complete);
  if (complete) kept.add(complete);
  for (const [count, period] of [
    [daily, dayOf],
    [weekly, weekOf],
  ] as const) {
    const chosen = new Map<string, Manifest>();
    for (const manifest of newestFirst) {
      const key = period(momentOf(manifest.archive));
      const earlier = chosen.get(key);
      if (!earlier || (!earlier.complete && manifest.complete)) chosen.set(key, manifest);
    }
    for (const manifest of [...chosen.values()].slice(0, count)) kept.add(manifest);
  }
  return manifests.filter((manifest) => !kept.has(manifest));
}

const dayOf = (moment: Date): string => moment.toISOString().slice(0, 10);

function weekOf(moment: Date): string {
  const monday = new Date(moment);
  monday.setUTCDate(monday.getUTCDate() - ((monday.getUTCDay() + 6) % 7));
  return dayOf(monday);
}
