/** One run: fetch from every pod and every node's store, merge, pack, verify, keep, forget what is old. */
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { download } from "./download.ts";
import { type Cluster, type Source, sourcesOf } from "./endpoints.ts";
import { Failure, reasonOf } from "./failure.ts";
import { archiveName, type Manifest, type SourceReport } from "./manifest.ts";
import { merge, type PodFile } from "./merge.ts";
import { fetchStore } from "./node-store.ts";
import { expired, type Retention } from "./retention.ts";
import { copyToRemote, keep, manifestsIn, remove, removeRemains, sha256Of } from "./storage.ts";
import { pack, unpack } from "./tar.ts";

/** A headless Service. */
export interface ServiceName {
  namespace: string;
  service: string;
}

/** What a run works on. */
export interface Run {
  cluster: Cluster;
  app: ServiceName;
  stores: ServiceName;
  /** Directory that is packed. */
  logs: string;
  /** Directory for archives being made, with room for the lines four times. */
  temporary: string;
  /** Directory that outlives the pod. */
  archives: string;
  /** An rclone remote, such as `s3:bucket/path`; empty for none. */
  remote: string;
  retention: Retention;
  /** How long a source that serves is tried again, in milliseconds; each is tried at least once. */
  patienceMs: number;
  say: (line: string) => void;
}

/**
 * Makes one archive. A source that cannot be read does not keep the others from being archived: the manifest names it
 * and is not `complete`.
 * @throws Failure where nothing could be archived, or not be stored; what was stored earlier stays
 */
export async function archive(run: Run): Promise<Manifest> {
  const { logs, temporary, archives, remote, retention, say } = run;
  const started = new Date();
  const name = archiveName(started);
  const path = join(temporary, name);
  await mkdir(logs, { recursive: true });
  // What an earlier run in this container left would be archived as if it were current.
  for (const old of await readdir(logs)) await rm(join(logs, old), { recursive: true, force: true });

  const scratch = await mkdtemp(join(temporary, "archiver-"));
  try {
    const { podFiles, storeFiles, sources } = await collect(run, scratch);
    const merged = await merge(podFiles, storeFiles, logs, scratch);
    say(await pack(`${logs.replace(/\/$/, "")}/`, path));
    const manifest: Manifest = {
      version: 1,
      archive: name,
      bytes: (await stat(path)).size,
      sha256: await sha256Of(path),
      started: started.toISOString(),
      finished: new Date().toISOString(),
      complete: sources.every(({ missed }) => missed !== true),
      ...merged,
      sources,
    };
    const { directory } = await unpack(path, manifest, scratch);
    await rm(directory, { recursive: true });

    await keep(path, manifest, archives);
    say(
      `${name}: ${merged.lines} lines of ${merged.pods.length} pods, ${manifest.bytes} bytes, verified and stored`,
    );
    if (remote !== "") {
      await copyToRemote(archives, manifest, remote);
      say(`${name}: copied to ${remote}`);
    }
    const old = expired(await manifestsIn(archives), retention);
    await remove(old, archives);
    for (const { archive } of old) say(`${archive}: removed, no rule keeps it`);
    for (const remains of await removeRemains(archives, started))
      say(`${remains}: removed, a run left it half-done`);
    return manifest;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

const pauseMs = 2000;

interface Collected {
  podFiles: PodFile[];
  storeFiles: string[];
  sources: SourceReport[];
}

/** Fetches from every pod and every store, whatever becomes of the others. */
async function collect({ cluster, app, stores, patienceMs, say }: Run, scratch: string): Promise<Collected> {
  const collected: Collected = { podFiles: [], storeFiles: [], sources: [] };
  const { podFiles, storeFiles, sources } = collected;
  const read = async (
    kind: SourceReport["kind"],
    { namespace, service }: ServiceName,
    fetchFrom: (source: Source) => Promise<number>,
  ): Promise<void> => {
    const reports = new Map<string, SourceReport>();
    const deadline = Date.now() + patienceMs;
    for (let known = await sourcesOf(cluster, namespace, service); ; await sleep(pauseMs)) {
      for (const source of known) {
        const { pod: name, uid } = source;
        if (reports.has(uid) && reports.get(uid)?.error === undefined) continue;
        try {
          const bytes = await fetchFrom(source);
          reports.set(uid, { kind, name, bytes });
          say(`${kind} ${name}: ${bytes} bytes`);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === "ENOSPC") throw error;
          reports.set(uid, { kind, name, bytes: 0, error: reasonOf(error) });
        }
      }
      known = await sourcesOf(cluster, namespace, service).catch(() => known);
      const serving = new Set(known.filter((source) => source.serving).map(({ uid }) => uid));
      const failed = [...reports].filter(([, { error }]) => error !== undefined);
      for (const [uid, report] of failed) {
        // One that went away meanwhile has left its lines in its node's store.
        report.missed = serving.has(uid);
        say(`${kind} ${report.name}: ${report.missed ? "FAILED" : "not serving"}: ${report.error}`);
      }
      const enough = failed.length === 0 || failed.length < reports.size;
      if ((enough && !failed.some(([, { missed }]) => missed)) || Date.now() >= deadline) break;
    }
    sources.push(...reports.values());
  };
  // Pods first: a line that comes later is in a store, or in the next archive.
  await read("pod", app, async ({ pod, uid, url }) => {
    const path = join(scratch, `pod-${uid}`);
    const bytes = await download(`${url}/logs`, path);
    podFiles.push({ pod, uid, path });
    return bytes;
  });
  await read("node-store", stores, async ({ uid, url }) => {
    const fetched = await fetchStore(url, join(scratch, `store-${uid}`));
    storeFiles.push(...fetched.files);
    return fetched.bytes;
  });
  if (sources.length > 0 && sources.every(({ error }) => error !== undefined))
    throw new Failure("no pod and no node's store could be read", { cause: sources[0]?.error });
  return collected;
}
