/** Collects what is new in every pod and every node's store. One that fails does not affect the others. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Patience } from "./download.ts";
import { type Cluster, type Source, sourcesOf } from "./endpoints.ts";
import { Failure, reasonOf } from "./failure.ts";
import type { Cursors, SourceReport } from "./manifest.ts";
import { fetchStore, type StorePart } from "./node-store.ts";
import { fetchPodLog, type PodPart } from "./pod-log.ts";

/** A headless Service. */
export interface ServiceName {
  namespace: string;
  service: string;
}

/** Where lines are, and how to read them. */
export interface Sources {
  cluster: Cluster;
  app: ServiceName;
  stores: ServiceName;
  /** How long to retry a source that serves, in milliseconds; each is tried at least once. */
  patienceMs: number;
  /** How many bytes to read for one archive. */
  largest: number;
  say: (line: string) => void;
}

/** Lines in files, and how far each source has been read with them. */
export interface Collected {
  podParts: PodPart[];
  storeParts: StorePart[];
  sources: SourceReport[];
  next: Cursors;
  /** True if the limit left lines behind. */
  more: boolean;
}

const pauseMs = 2000;
// A source that hangs must not keep the others waiting: it is tried again, more patiently, once they have been read.
const quick: Patience = { attempts: 2, silenceMs: 5000 };
// A pod or node that was not seen for this long is read from its beginning when it comes back.
const forgottenAfterMs = 2 * 86_400_000;

/**
 * Fetches what is new behind cursors into files of a directory. While a pod is retried, the stores are read repeatedly,
 * because at a high rate they drop their oldest lines within a minute.
 * @throws Failure if nothing could be read, and the disk's error if it is full
 */
export async function collect(sources: Sources, before: Cursors, directory: string): Promise<Collected> {
  const budget = new Budget(sources.largest);
  const pods = new PodReader(before.pods, directory, budget);
  const stores = new StoreReader(before.stores, directory, budget);
  const services = [
    new Reading("pod", sources.app, sources, pods, budget),
    new Reading("node-store", sources.stores, sources, stores, budget),
  ];
  const deadline = Date.now() + sources.patienceMs;
  for (let round = 0; ; round++) {
    for (const service of services) await service.read(round === 0 ? quick : undefined);
    const late = round > 0 && Date.now() >= deadline;
    if (late || budget.left <= 0 || !services.some((service) => service.isWorthAnotherTry())) break;
    if (round > 0) await sleep(pauseMs);
  }
  const reports = services.flatMap((service) => service.reports());
  if (reports.length > 0 && reports.every(({ error }) => error !== undefined))
    throw new Failure("no pod and no node's store could be read", { cause: reports[0]?.error });
  return {
    podParts: pods.parts,
    storeParts: stores.parts,
    sources: reports,
    next: { pods: pods.cursors, stores: stores.cursors, dropped: { ...before.dropped } },
    more: budget.exceeded,
  };
}

/** How many more bytes may be read. */
class Budget {
  /** True if lines were left behind because it was used up. */
  exceeded = false;
  left: number;
  constructor(bytes: number) {
    this.left = bytes;
  }
}

/** Reads what is new in one kind of source. */
interface Reader {
  /** True if a source that has been read is read again in each round. */
  readonly everyRound: boolean;
  read(source: Source, patience: Patience | undefined): Promise<{ bytes: number; dropped: number }>;
}

class PodReader implements Reader {
  readonly everyRound = false;
  readonly parts: PodPart[] = [];
  readonly cursors: Cursors["pods"];
  readonly #directory: string;
  readonly #budget: Budget;

  constructor(before: Cursors["pods"], directory: string, budget: Budget) {
    this.cursors = remembered(before);
    this.#directory = directory;
    this.#budget = budget;
  }

  async read(source: Source, patience: Patience | undefined): Promise<{ bytes: number; dropped: number }> {
    const { uid } = source;
    const path = join(this.#directory, `pod-${this.parts.length}`);
    const part = await fetchPodLog(source, this.cursors[uid], path, this.#budget.left, patience);
    this.parts.push(part);
    if (part.more) this.#budget.exceeded = true;
    if (part.cursor) this.cursors[uid] = part.cursor;
    else delete this.cursors[uid];
    // The node's store may have what the pod dropped; merging both will show it.
    return { bytes: part.end - part.start, dropped: 0 };
  }
}

class StoreReader implements Reader {
  readonly everyRound = true;
  readonly parts: StorePart[] = [];
  readonly cursors: Cursors["stores"];
  readonly #directory: string;
  readonly #budget: Budget;
  #reads = 0;

  constructor(before: Cursors["stores"], directory: string, budget: Budget) {
    this.cursors = remembered(before);
    this.#directory = directory;
    this.#budget = budget;
  }

  async read(
    { uid, node, url }: Source,
    patience: Patience | undefined,
  ): Promise<{ bytes: number; dropped: number }> {
    const key = node ?? uid;
    const path = join(this.#directory, `store-${this.#reads++}`);
    const fetched = await fetchStore(url, this.cursors[key], path, this.#budget.left, patience);
    this.parts.push(...fetched.parts);
    if (fetched.more) this.#budget.exceeded = true;
    this.cursors[key] = fetched.cursor;
    return fetched;
  }
}

/** The sources behind one Service, and what became of each. */
class Reading {
  readonly #kind: SourceReport["kind"];
  readonly #service: ServiceName;
  readonly #cluster: Cluster;
  readonly #say: Sources["say"];
  readonly #reader: Reader;
  readonly #budget: Budget;
  readonly #reports = new Map<string, SourceReport>();
  #known: Source[] | undefined;

  constructor(
    kind: SourceReport["kind"],
    service: ServiceName,
    { cluster, say }: Sources,
    reader: Reader,
    budget: Budget,
  ) {
    this.#kind = kind;
    this.#service = service;
    this.#cluster = cluster;
    this.#say = say;
    this.#reader = reader;
    this.#budget = budget;
  }

  /** Reads each source that is to be read in this round. */
  async read(patience: Patience | undefined): Promise<void> {
    this.#known ??= await this.#list();
    for (const source of this.#known) {
      const earlier = this.#reports.get(source.uid);
      if (earlier && earlier.error === undefined && !this.#reader.everyRound) continue;
      if (this.#budget.left <= 0) {
        this.#budget.exceeded = true;
        break;
      }
      await this.#readOne(source, patience);
    }
    if (this.#failed().length > 0) await this.#judge();
  }

  reports(): SourceReport[] {
    return [...this.#reports.values()];
  }

  /** A pod that starts or has gone is not waited for: its node's store has its lines. If nothing was read, it is. */
  isWorthAnotherTry(): boolean {
    const failed = this.#failed();
    return failed.some(({ missed }) => missed) || (failed.length > 0 && failed.length === this.#reports.size);
  }

  async #readOne(source: Source, patience: Patience | undefined): Promise<void> {
    const { pod: name, uid } = source;
    const kind = this.#kind;
    const { bytes: before = 0, droppedBytes: droppedBefore = 0 } = this.#reports.get(uid) ?? {};
    const report = { kind, name, bytes: before, ...(droppedBefore ? { droppedBytes: droppedBefore } : {}) };
    try {
      const { bytes, dropped } = await this.#reader.read(source, patience);
      this.#budget.left -= bytes;
      report.bytes += bytes;
      if (dropped > 0) report.droppedBytes = droppedBefore + dropped;
      this.#reports.set(uid, report);
      this.#say(`${kind} ${name}: ${bytes} bytes`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") throw error;
      this.#reports.set(uid, { ...report, error: reasonOf(error) });
    }
  }

  /** Decides for each failure whether lines were missed, and reports it. */
  async #judge(): Promise<void> {
    this.#known = await this.#list().catch(() => this.#known ?? []);
    const serving = new Set(this.#known.filter((source) => source.serving).map(({ uid }) => uid));
    for (const [uid, report] of this.#reports) {
      if (report.error === undefined) continue;
      report.missed = serving.has(uid);
      this.#say(`${this.#kind} ${report.name}: ${report.missed ? "FAILED" : "not serving"}: ${report.error}`);
    }
  }

  #failed(): SourceReport[] {
    return this.reports().filter(({ error }) => error !== undefined);
  }

  #list(): Promise<Source[]> {
    return sourcesOf(this.#cluster, this.#service.namespace, this.#service.service);
  }
}

function remembered<T extends { seen: string }>(cursors: Record<string, T>): Record<string, T> {
  const oldest = new Date(Date.now() - forgottenAfterMs).toISOString();
  return Object.fromEntries(Object.entries(cursors).filter(([, { seen }]) => seen >= oldest));
}
