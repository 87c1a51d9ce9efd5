/** Which archives are old enough to be removed. */
import { type Manifest, newestMoment, newestOf } from "./manifest.ts";

/**
 * The archives that are older than `days` days, as are all their lines. The platform's newest archive stays, because its
 * cursors say where the next run goes on.
 */
export function expired(manifests: Manifest[], days: number, now: Date): Manifest[] {
  const oldest = new Date(now.getTime() - days * 86_400_000).toISOString();
  const newest = newestOf(manifests);
  return manifests.filter((manifest) => manifest !== newest && newestMoment(manifest) < oldest);
}

/**
 * The moment from which ages count: now, but at most a day after the platform's last run. Otherwise one run whose clock
 * is far ahead would take everything that is stored for old.
 */
export function ageReference(manifests: Manifest[], now: Date): Date {
  const last = Date.parse(newestOf(manifests)?.finished ?? "");
  return Number.isNaN(last) ? now : new Date(Math.min(now.getTime(), last + 86_400_000));
}
