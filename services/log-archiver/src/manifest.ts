/** What is known of an archive. It is stored beside it and written last: an archive without one does not count. */

import type { StoreCursor } from "./node-store.ts";
import type { PodCursor } from "./pod-log.ts";

/** Where lines were fetched from. */
export interface SourceReport {
  kind: "pod" | "node-store";
  /** The pod's name. */
  name: string;
  /** The bytes that were new. */
  bytes: number;
  /**
   * Bytes that the source dropped unread. For a pod, the node's store did not have them either. For a store it is a lower
   * bound, and pods that still exist have their own lines of them.
   */
  droppedBytes?: number;
  /** Why it could not be read; absent if it was read. */
  error?: string;
  /** False if nothing was missed: the pod starts, stops or has gone, and its lines are in the node's store. */
  missed?: boolean;
}

/** One pod's file in an archive. */
export interface ArchivedPod {
  pod: string;
  file: string;
  lines: number;
  bytes: number;
  sha256: string;
  /** Times of the first and the last line, RFC 3339; empty for a text that is not a line of the API. */
  first: string;
  last: string;
  /** Lines that only a node's store had. */
  fromNodes: number;
  /** In an archive that replaces several: how many of the lines each of those had, in their order. */
  segments?: number[];
}

/** How far each source has been read: where the next run goes on. */
export interface Cursors {
  /** By the pod's UID. */
  pods: Record<string, PodCursor>;
  /** By the node's name. */
  stores: Record<string, StoreCursor>;
  /** The sum of all `droppedBytes` of this platform so far. It never shrinks, whichever archives are removed. */
  dropped: Record<SourceReport["kind"], number>;
}

/** The manifest of one archive. Times are RFC 3339, sizes bytes. An archive of version 1 held every line there was. */
export interface Manifest {
  version: 1 | 2;
  archive: string;
  bytes: number;
  sha256: string;
  started: string;
  finished: string;
  /** False if a source that should have answered could not be read. */
  complete: boolean;
  lines: number;
  tornRecords: number;
  pods: ArchivedPod[];
  sources: SourceReport[];
  /** Counts a platform's archives. The highest number has the newest cursors, whatever the clock said. */
  sequence?: number;
  cursors?: Cursors;
  /** The archives that this one replaces. */
  replaces?: { archive: string; sha256: string }[];
  /** When it was brought here from another platform, whose cursors mean nothing here. */
  imported?: string;
}

const prefix = "app-logs-";
const ending = ".tar.gz";
const nameForm = /^app-logs-(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d\.\d{3})Z|\.(\d+))$/;

/** The name of an archive made at a moment. Names sort as times do. */
export const archiveName = (moment: Date): string =>
  `${prefix}${moment.toISOString().replaceAll(/[-:]/g, "")}${ending}`;

/** The name of the `part`th archive of a closed day, such as 2026-01-31. It sorts before those of the day's moments. */
export const dayArchiveName = (day: string, part: number): string =>
  `${prefix}${day.replaceAll("-", "")}.${part}${ending}`;

/** The name of an archive's manifest. */
export const manifestName = (archive: string): string => archive.replace(/\.tar\.gz$/, ".json");

/** True for names that {@link archiveName} and {@link dayArchiveName} give. */
export const isArchiveName = (name: string): boolean =>
  name.endsWith(ending) && nameForm.test(name.slice(0, -ending.length));

/** True for names that {@link manifestName} gives. */
export const isManifestName = (name: string): boolean =>
  name.endsWith(".json") && nameForm.test(name.slice(0, -5));

/** The day in UTC that an archive's name says, such as 2026-01-31, and whether it is the archive of a whole day. */
export function dayOf(archive: string): { day: string; whole: boolean } {
  const [, year, month, day, hour] = nameForm.exec(archive.slice(0, -ending.length)) ?? [];
  return { day: `${year}-${month}-${day}`, whole: hour === undefined };
}

/** The time of an archive's newest line, or the time when it was finished if that is later. */
export const newestMoment = ({ pods, finished }: Manifest): string =>
  pods.reduce((newest, { last }) => (last > newest ? last : newest), finished);

/** Reads a manifest's text. Throws a SyntaxError if it is not a manifest. */
export function parseManifest(text: string): Manifest {
  const value = JSON.parse(text) as Manifest;
  const known = value.version === 1 || value.version === 2;
  if (!known || typeof value.sha256 !== "string" || !isArchiveName(String(value.archive)))
    throw new SyntaxError("not the manifest of an archive");
  // Files are written and read by these names.
  if (value.pods.some(({ file }) => !/^[\w.-]+\.log$/.test(file) || file.startsWith(".")))
    throw new SyntaxError("the manifest names a file that cannot be a pod's");
  return value;
}

/** The platform's own newest archive, whatever the clock said: that with the highest number, or else the last name. */
export function newestOf(manifests: Manifest[]): Manifest | undefined {
  const own = manifests.filter(({ imported }) => imported === undefined);
  const order = (a: Manifest, b: Manifest): number =>
    (a.sequence ?? 0) - (b.sequence ?? 0) || (a.archive < b.archive ? -1 : 1);
  return own.toSorted(order).at(-1);
}

/** Where the next run goes on, and the number of its archive. */
export function newestCursors(manifests: Manifest[]): { cursors: Cursors; sequence: number } {
  const newest = newestOf(manifests.filter(({ cursors }) => cursors !== undefined));
  const { pods = {}, stores = {}, dropped }: Partial<Cursors> = newest?.cursors ?? {};
  return {
    cursors: {
      pods,
      stores,
      dropped: { pod: dropped?.pod ?? 0, "node-store": dropped?.["node-store"] ?? 0 },
    },
    sequence: (newest?.sequence ?? 0) + 1,
  };
}
