/** Sends new lines of the nodes' stores to the search store soon, and sends again what a kill of it lost. */
import { createReadStream } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Counter, Gauge, Registry } from "prom-client";
import type { Source } from "./endpoints.ts";
import { reasonOf } from "./failure.ts";
import { fetchStore, filesOf, type StoreCursor, type StorePart, unreadIn } from "./node-store.ts";
import { Away, asTheyAre, prepare, requestCharacters, type SearchStore } from "./search-store.ts";

// How much is read of one store before it is the turn of another.
const batchBytes = 16 * 1024 * 1024;
// VictoriaLogs says that a kill loses at most the seconds of its -inmemoryDataFlushInterval; up to 6 s were seen.
const unsettledMs = 30_000;
const sourcesMs = 5_000;
const repeatMs = 60_000;
const quick = { attempts: 2, silenceMs: 5000 };

type Cursors = Record<string, StoreCursor>;

/** How far the stores have been sent on, by the node's name. */
interface State {
  /** The start time of the search store's process that received the lines. */
  started: string;
  latest: Cursors;
  /** What was sent on so long ago that a kill does not lose it. */
  settled: Cursors;
}

/** Reads the nodes' stores and fills the search store. */
export class Feeder {
  readonly registry = new Registry();
  /** When the last round ended, whether it succeeded or not. */
  lastRound = Date.now();
  readonly #sources: () => Promise<Source[]>;
  readonly #search: SearchStore;
  readonly #directory: string;
  readonly #complain: (reason: string) => void;
  readonly #figures = figuresIn(this.registry);
  #known: { sources: Source[]; asked: number } = { sources: [], asked: 0 };
  #state: State | undefined;
  #startedAsked = 0;
  /** True after the search store did not answer: it may be another process by now. */
  #doubtful = false;
  /** Earlier cursors and the times at which they were right, the oldest first. */
  #checkpoints: { time: number; cursors: Cursors }[] = [];
  /** Nodes whose lines the search store may already have: each line is looked for before it is sent on. */
  readonly #careful = new Set<string>();
  #said = { text: "", time: 0 };

  /**
   * @param sources says where the nodes' stores are
   * @param directory outlives the process, and has room for some batches
   */
  constructor(
    sources: () => Promise<Source[]>,
    search: SearchStore,
    directory: string,
    complain: (reason: string) => void,
  ) {
    this.#sources = sources;
    this.#search = search;
    this.#directory = directory;
    this.#complain = complain;
  }

  /** Sends on what is new in every store. True if nothing is left, or after an error, of which it complains once. */
  async round(now = Date.now()): Promise<boolean> {
    const reasons: string[] = [];
    let done = true;
    try {
      await this.#look(now);
      const sources = this.#known.sources;
      const ends = await Promise.allSettled(sources.map((source) => this.#feed(source)));
      for (const [index, end] of ends.entries()) {
        if (end.status === "fulfilled") {
          if (!end.value) done = false;
          continue;
        }
        done = false;
        if (end.reason instanceof Away) this.#doubtful = true;
        // A pod that starts or stops may be unable to answer.
        if (sources[index]?.serving) reasons.push(`${sources[index]?.pod}: ${reasonOf(end.reason)}`);
      }
      await this.#settle(now);
    } catch (error) {
      done = false;
      if (error instanceof Away) this.#doubtful = true;
      reasons.push(reasonOf(error));
    }
    if (reasons.length > 0) {
      // What does not answer now may have been replaced.
      this.#startedAsked = 0;
      this.#known.asked = 0;
    }
    this.#say(reasons.join("; "), now);
    this.lastRound = Date.now();
    return done || reasons.length > 0;
  }

  /** Complains when something begins to go wrong, and at most once a minute when the reason changes. */
  #say(complaints: string, now: number): void {
    const { text, time } = this.#said;
    if (complaints === text || (complaints !== "" && text !== "" && now - time < repeatMs)) return;
    this.#complain(complaints || "all stores are handed on again");
    this.#said = { text: complaints, time: now };
  }

  /** Finds out which stores there are, and whether the search store is still the same process. */
  async #look(now: number): Promise<void> {
    if (now - this.#known.asked >= sourcesMs)
      this.#known = { sources: this.#present(await this.#sources()), asked: now };
    if (this.#state && now - this.#startedAsked < sourcesMs) return;
    const started = await this.#search.started();
    this.#startedAsked = now;
    const known = this.#state ?? (await this.#load());
    const begins = this.#state === undefined;
    // It may have been killed and started again within one second.
    const another = known.started !== started || this.#doubtful;
    if (another) {
      known.latest = { ...known.settled };
      this.#checkpoints = [];
    }
    // Before its own restart, the feeder may have sent on more than it wrote down.
    if (begins || another) for (const source of this.#known.sources) this.#careful.add(nameOf(source));
    this.#state = { ...known, started };
    this.#doubtful = false;
  }

  /** Returns the given stores. It drops the metrics of nodes that have gone, which would look as if they were behind. */
  #present(sources: Source[]): Source[] {
    const names = new Set(sources.map(nameOf));
    for (const node of this.#known.sources.map(nameOf).filter((name) => !names.has(name))) {
      this.#figures.unread.remove({ node });
      this.#figures.caughtUp.remove({ node });
    }
    return sources;
  }

  /** Sends on a batch of a store. True if nothing is left in it. */
  async #feed(source: Source): Promise<boolean> {
    const state = this.#state as State;
    const node = nameOf(source);
    const before = state.latest[node];
    if (before === undefined) this.#careful.add(node);
    const unread = unreadIn(await filesOf(source.url), before);
    this.#figures.unread.set({ node }, unread);
    if (unread === 0 && before !== undefined) {
      this.#careful.delete(node);
      this.#figures.caughtUp.set({ node }, Date.now() / 1000);
      return true;
    }
    const directory = join(this.#directory, "batch", node);
    await rm(directory, { recursive: true, force: true });
    const fetched = await fetchStore(source.url, before, directory, batchBytes, quick);
    for (const part of fetched.parts) await this.#handOn(part, node, fetched.cursor.seen);
    if (fetched.dropped > 0) this.#figures.dropped.inc({ node }, fetched.dropped);
    state.latest[node] = fetched.cursor;
    if (!fetched.more) {
      this.#careful.delete(node);
      this.#figures.unread.set({ node }, 0);
      this.#figures.caughtUp.set({ node }, Date.now() / 1000);
    }
    await rm(directory, { recursive: true, force: true });
    return !fetched.more;
  }

  async #handOn({ path, start, end }: StorePart, node: string, seen: string): Promise<void> {
    let time = seen;
    for await (const bytes of wholeLines(path, start, end)) {
      if (!this.#careful.has(node) && asTheyAre(bytes)) {
        await this.#search.insertBytes(bytes);
        this.#figures.lines.inc({ node }, linesIn(bytes));
        time = timeOfLast(bytes) ?? time;
        continue;
      }
      const { lines, torn, shortened } = prepare(bytes.toString("latin1").split("\n"), time);
      time = lines.at(-1)?.time ?? time;
      const wanted = this.#careful.has(node) ? await this.#search.missing(lines) : lines;
      await this.#search.insert(wanted);
      this.#figures.lines.inc({ node }, wanted.length);
      if (torn > 0) this.#figures.torn.inc({ node }, torn);
      if (shortened > 0) this.#figures.shortened.inc({ node }, shortened);
    }
  }

  async #settle(now: number): Promise<void> {
    const state = this.#state as State;
    const last = this.#checkpoints.at(-1)?.cursors;
    const changed = Object.entries(state.latest).some(([node, cursor]) => last?.[node] !== cursor);
    if (changed) this.#checkpoints.push({ time: now, cursors: { ...state.latest } });
    const settled = this.#checkpoints.findLast(({ time }) => now - time >= unsettledMs);
    const settles = settled !== undefined && state.settled !== settled.cursors;
    if (settles) {
      state.settled = settled.cursors;
      this.#checkpoints = this.#checkpoints.filter(({ time }) => time >= settled.time);
    }
    if (changed || settles) await this.#save();
  }

  get #file(): string {
    return join(this.#directory, "state.json");
  }

  async #load(): Promise<State> {
    await mkdir(this.#directory, { recursive: true });
    try {
      return JSON.parse(await readFile(this.#file, "utf8")) as State;
    } catch {
      // None yet, or half of one: all is looked for and what is missing handed on.
      return { started: "", latest: {}, settled: {} };
    }
  }

  async #save(): Promise<void> {
    await writeFile(`${this.#file}.new`, JSON.stringify(this.#state));
    await rename(`${this.#file}.new`, this.#file);
  }
}

/** The bytes of a part of a file, some MiB at a time. Each piece holds whole lines, except perhaps the last. */
async function* wholeLines(path: string, start: number, end: number): AsyncGenerator<Buffer> {
  if (end <= start) return;
  let rest: Buffer[] = [];
  for await (const chunk of createReadStream(path, {
    start,
    end: end - 1,
    highWaterMark: requestCharacters,
  })) {
    const bytes = chunk as Buffer;
    const last = bytes.lastIndexOf(newline);
    if (last < 0) {
      rest.push(bytes);
      continue;
    }
    yield Buffer.concat([...rest, bytes.subarray(0, last + 1)]);
    rest = last + 1 < bytes.length ? [bytes.subarray(last + 1)] : [];
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}

function linesIn(bytes: Buffer): number {
  let lines = 0;
  for (let place = bytes.indexOf(newline); place >= 0; lines++) place = bytes.indexOf(newline, place + 1);
  return lines;
}

function timeOfLast(bytes: Buffer): string | undefined {
  const start = bytes.lastIndexOf(newline, bytes.length - 2) + 1;
  return prepare([bytes.toString("latin1", start).trimEnd()], "").lines.at(-1)?.time;
}

const newline = 0x0a;

const nameOf = ({ node, uid }: Source): string => node ?? uid;

function figuresIn(registry: Registry) {
  const options = (name: string, help: string) => ({
    name,
    help,
    labelNames: ["node"],
    registers: [registry],
  });
  return {
    lines: new Counter(options("log_search_lines_total", "Lines handed to the search store.")),
    shortened: new Counter(
      options("log_search_shortened_lines_total", "Lines of which only the beginning was handed on."),
    ),
    torn: new Counter(options("log_search_torn_lines_total", "Halves of lines, which were left out.")),
    dropped: new Counter(
      options(
        "log_search_dropped_bytes_total",
        "Bytes that a node's store dropped before they were handed on.",
      ),
    ),
    unread: new Gauge(
      options("log_search_unread_bytes", "Bytes of a node's store that are not handed on yet."),
    ),
    caughtUp: new Gauge(
      options(
        "log_search_caught_up_timestamp_seconds",
        "When all that a node's store had was handed on the last time.",
      ),
    ),
  };
}
