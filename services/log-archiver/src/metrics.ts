/** Metrics about archives, from their manifests: the job that makes them is too short-lived for Prometheus to scrape. */
import { stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { Counter, Gauge, Registry } from "prom-client";
import { newestCursors, newestOf } from "./manifest.ts";
import { manifestsIn } from "./storage.ts";
import type { StoreWatch } from "./store-watch.ts";

/** Reads a directory of archives and returns its figures, and those of the nodes' stores, in Prometheus' text format. */
export async function metricsOf(
  directory: string,
  stores?: StoreWatch,
): Promise<{ type: string; text: string }> {
  const registry = new Registry();
  const gauge = (name: string, help: string, value: number): void =>
    new Gauge({ name, help, registers: [registry] }).set(value);
  let unreadable = 0;
  const manifests = await manifestsIn(directory, () => unreadable++);
  const newest = newestOf(manifests);
  const complete = newestOf(manifests.filter((manifest) => manifest.complete));
  // The clock may have been ahead: an age below zero would hide that nothing is archived.
  const seconds = (time: string | undefined): number =>
    time === undefined ? 0 : Math.min(Date.parse(time), Date.now()) / 1000;
  const sizes = await Promise.all(
    manifests.map(({ archive }) =>
      stat(join(directory, archive)).then(
        ({ size }) => size,
        () => undefined,
      ),
    ),
  );

  gauge("log_archives", "Archives that are stored.", manifests.length);
  gauge(
    "log_archives_damaged",
    "Archives that are missing, have another size than their manifest says, or whose manifest is unreadable.",
    unreadable + manifests.filter(({ bytes }, index) => sizes[index] !== bytes).length,
  );
  gauge(
    "log_archive_last_success_timestamp_seconds",
    "When the newest archive of which no source was missed was finished; 0 if there is none.",
    seconds(complete?.finished),
  );
  gauge(
    "log_archive_last_run_timestamp_seconds",
    "When the newest archive was finished; 0 if there is none.",
    seconds(newest?.finished),
  );
  const count = (kind: string): number =>
    newest?.sources.filter((source) => source.kind === kind && source.missed === true).length ?? 0;
  const missed = new Gauge({
    name: "log_archive_missed_sources",
    help: "Pods and nodes' stores that the newest archive's run could not read.",
    labelNames: ["kind"],
    registers: [registry],
  });
  for (const kind of ["pod", "node-store"]) missed.set({ kind }, count(kind));
  gauge(
    "log_archive_lines",
    "Lines in the newest archive: those that no archive had before.",
    newest?.lines ?? 0,
  );
  gauge("log_archive_pods", "Pods whose lines are in the newest archive.", newest?.pods.length ?? 0);
  gauge("log_archive_size_bytes", "Size of the newest archive.", newest?.bytes ?? 0);
  gauge(
    "log_archive_duration_seconds",
    "How long the newest archive took to make.",
    newest ? seconds(newest.finished) - seconds(newest.started) : 0,
  );
  const { cursors } = newestCursors(manifests);
  const dropped = new Counter({
    name: "log_archive_dropped_bytes_total",
    help: "Bytes of lines that pods, or at least so many that nodes' stores, dropped before an archive had them.",
    labelNames: ["kind"],
    registers: [registry],
  });
  for (const [kind, bytes] of Object.entries(cursors.dropped)) dropped.inc({ kind }, bytes);
  const { bavail, blocks, bsize } = await statfs(directory);
  gauge("log_archive_volume_free_bytes", "Room on the volume of the archives.", bavail * bsize);
  gauge("log_archive_volume_size_bytes", "Size of the volume of the archives.", blocks * bsize);
  if (stores) {
    const labelled = (name: string, help: string): Gauge =>
      new Gauge({ name, help, labelNames: ["node"], registers: [registry] });
    const unarchived = labelled(
      "log_store_unarchived_bytes",
      "Bytes of a node's store that no archive has yet.",
    );
    const seconds = labelled(
      "log_store_seconds_until_dropped",
      "When a node's store drops lines that no archive has, at the rate of the last ten minutes; +Inf at none.",
    );
    for (const { node, bytes, secondsLeft } of stores.figures(cursors.stores)) {
      unarchived.set({ node }, bytes);
      seconds.set({ node }, secondsLeft);
    }
    gauge("log_stores_unreadable", "Nodes' stores that serve and could not be looked at.", stores.unreadable);
  }
  return { type: registry.contentType, text: await registry.metrics() };
}
