/** Which archives may go. */
import { type Manifest, newestMoment, newestOf } from "./manifest.ts";

/**
 * The archives whose lines are all older than so many days, and that were made so long ago. The platform's newest one
 * stays: its cursors say where the next run goes on.
 */
export function expired(manifests: Manifest[], days: number, now: Date): Manifest[] {
  const oldest = new Date(now.getTime() - days * 86_400_000).toISOString();
  const newest = newestOf(manifests);
  return manifests.filter((manifest) => manifest !== newest && newestMoment(manifest) < oldest);
}

/**
 * The moment from which ages count: now, but at most a day after the platform's last run, so that one run with a clock
 * that is far ahead does not take all that is stored for old.
 */
export function ageReference(manifests: Manifest[], now: Date): Date {
  const last = Date.parse(newestOf(manifests)?.finished ?? "");
  return Number.isNaN(last) ? now : new Date(Math.min(now.getTime(), last + 86_400_000));
}
