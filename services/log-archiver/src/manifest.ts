/** What is known of an archive, stored beside it. Written last: an archive without one does not count. */
import type { MergedPod } from "./merge.ts";

/** Where lines were fetched from. */
export interface SourceReport {
  kind: "pod" | "node-store";
  /** The pod's name. */
  name: string;
  bytes: number;
  /** Why it could not be read; absent where it was. */
  error?: string;
  /** False where the failure is none: the pod starts, stops or has gone, and its lines are in the node's store. */
  missed?: boolean;
}

/** The manifest of one archive. Times are RFC 3339, sizes bytes. */
export interface Manifest {
  version: 1;
  archive: string;
  bytes: number;
  sha256: string;
  started: string;
  finished: string;
  /** False where a source that should have answered could not be read. */
  complete: boolean;
  lines: number;
  repeatsDropped: number;
  tornRecords: number;
  pods: MergedPod[];
  sources: SourceReport[];
}

const prefix = "app-logs-";

/** An archive's name for a moment: names sort as times do. */
export const archiveName = (moment: Date): string =>
  `${prefix}${moment.toISOString().replaceAll(/[-:]/g, "")}.tar.gz`;

/** The name of an archive's manifest. */
export const manifestName = (archive: string): string => archive.replace(/\.tar\.gz$/, ".json");

/** True for names that {@link manifestName} gives. */
export const isManifestName = (name: string): boolean => /^app-logs-\d{8}T\d{6}\.\d{3}Z\.json$/.test(name);

/** The moment that an archive's name says. */
export function momentOf(name: string): Date {
  const [, y, mo, d, h, mi, s] = /(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d\.\d{3})Z/.exec(name) ?? [];
  return new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
}

/** Reads a manifest's text. Throws a SyntaxError if it is none. */
export function parseManifest(text: string): Manifest {
  const value = JSON.parse(text) as Manifest;
  if (value.version !== 1 || typeof value.archive !== "string" || typeof value.sha256 !== "string")
    throw new SyntaxError("not the manifest of an archive");
  return value;
}
