/** Which archives may go. */
import { type Manifest, newestMoment } from "./manifest.ts";

/**
 * The archives whose lines are all older than so many days, and that were made so long ago. The platform's newest one
 * stays: its cursors say where the next run goes on.
 */
export function expired(manifests: Manifest[], days: number, now: Date): Manifest[] {
  const oldest = new Date(now.getTime() - days * 86_400_000).toISOString();
  const newest = manifests
    .filter(({ imported }) => imported === undefined)
    .reduce<Manifest | undefined>(
      (found, manifest) => ((manifest.sequence ?? 0) >= (found?.sequence ?? 0) ? manifest : found),
      undefined,
    );
  return manifests.filter((manifest) => manifest !== newest && newestMoment(manifest) < oldest);
}
