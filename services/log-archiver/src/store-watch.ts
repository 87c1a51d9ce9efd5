/** Estimates how long each node's store can wait for the archiver, by looking at its files now and then. */
import type { Source } from "./endpoints.ts";
import { reasonOf } from "./failure.ts";
import { cursorBehind, filesOf, type StoreCursor, type StoreFile, unreadIn } from "./node-store.ts";

const intervalMs = 15_000;
const windowMs = 600_000;

interface Seen {
  files: StoreFile[];
  /** How many bytes had been written at which times. */
  samples: { time: number; written: number }[];
}

/** What is known of one node's store. */
export interface StoreFigures {
  node: string;
  /** How many bytes no archive has yet. */
  bytes: number;
  /** How long until some of them are dropped, at the present rate; infinite if nothing is written. */
  secondsLeft: number;
}

/** Looks at the stores every 15 s. */
export class StoreWatch {
  /** How many stores serve and could not be looked at the last time. */
  unreadable = 0;
  readonly #sources: () => Promise<Source[]>;
  readonly #capacity: number;
  readonly #nodes = new Map<string, Seen>();
  #timer: NodeJS.Timeout | undefined;

  /** @param capacity the bytes that a store holds before it drops lines */
  constructor(sources: () => Promise<Source[]>, capacity: number) {
    this.#sources = sources;
    this.#capacity = capacity;
  }

  /** Looks now and every 15 s, without keeping the process alive; `complain` is told what goes wrong. */
  start(complain: (reason: string) => void): void {
    const again = async (): Promise<void> => {
      await this.look().catch((error) => complain(reasonOf(error)));
      this.#timer = setTimeout(again, intervalMs).unref();
    };
    void again();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Looks once. Rejects if the API server does not say which stores there are. */
  async look(now = Date.now()): Promise<void> {
    const sources = await this.#sources();
    let unreadable = 0;
    const present = new Set<string>();
    for (const { node, uid, url, serving } of sources) {
      const name = node ?? uid;
      present.add(name);
      const files = await filesOf(url).catch(() => undefined);
      if (files) this.#add(name, files, now);
      else if (serving) unreadable++;
    }
    for (const name of this.#nodes.keys()) if (!present.has(name)) this.#nodes.delete(name);
    this.unreadable = unreadable;
  }

  #add(node: string, files: StoreFile[], time: number): void {
    const before = this.#nodes.get(node);
    const samples = (before?.samples ?? []).filter((sample) => time - sample.time <= windowMs);
    const written = before ? (samples.at(-1)?.written ?? 0) + unreadIn(files, cursorBehind(before.files)) : 0;
    this.#nodes.set(node, { files, samples: [...samples, { time, written }] });
  }

  /** The figures of each node, given how far its store has been archived. */
  figures(cursors: Record<string, StoreCursor>): StoreFigures[] {
    return [...this.#nodes].map(([node, { files, samples }]) => {
      const bytes = unreadIn(files, cursors[node]);
      const first = samples[0];
      const last = samples.at(-1);
      const seconds = ((last?.time ?? 0) - (first?.time ?? 0)) / 1000;
      const rate = seconds > 0 ? ((last?.written ?? 0) - (first?.written ?? 0)) / seconds : 0;
      const room = Math.max(0, this.#capacity - bytes);
      return { node, bytes, secondsLeft: rate > 0 ? room / rate : Number.POSITIVE_INFINITY };
    });
  }
}
