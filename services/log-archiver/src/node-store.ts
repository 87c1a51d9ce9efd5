/** What an agent keeps on its node: lines as JSON, in files that are rotated and dropped while they are read. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Anchor, anchorAt, beginsWith, endOfLastLine } from "./anchor.ts";
import { download, type Patience, Refused } from "./download.ts";
import { bytesOf, linesOf } from "./lines.ts";

/** A line as the agent prints and stores it. */
export interface StoredLine {
  /** The time at the start of the line; null for a text that is not a line of the API, which is all in `message`. */
  time: string | null;
  request_id: string | null;
  message: string;
  /** Null if the agent did not know the pod any more. */
  pod: string | null;
  namespace: string | null;
  uid: string;
  /** Identifies the log across its rotations. Two lines with the same file, offset and text are one line. */
  file: string;
  offset: number;
}

/** How far a node's store has been read. */
export interface StoreCursor {
  /** For each file that is rotated away, and so does not grow any more, by name. */
  files: Record<string, { read: number; size: number }>;
  /** How far the file being written was read. */
  active: Place | undefined;
  /** When the store was last seen. */
  seen: string;
}

interface Place {
  read: number;
  anchor: Anchor;
}

/** New lines of a store, in a file. */
export interface StorePart {
  path: string;
  start: number;
  end: number;
}

/** What was new in a store. */
export interface StoreParts {
  parts: StorePart[];
  bytes: number;
  /** At least how many bytes the store dropped unread. */
  dropped: number;
  cursor: StoreCursor;
  /** True if a limit left lines for another archive. */
  more: boolean;
}

const active = "lines.jsonl";

/** A file of a store. */
export interface StoreFile {
  name: string;
  size: number;
}

/** The files of a node's store, the oldest first; the last one is being written. */
export async function filesOf(url: string): Promise<StoreFile[]> {
  const answer = await fetch(`${url}/`, { signal: AbortSignal.timeout(30_000) });
  if (!answer.ok) throw new Refused(`${url}/`, answer.status);
  const entries = (await answer.json()) as (StoreFile & { type: string })[];
  return entries
    .filter(({ name, type }) => type === "file" && /^lines[\w.-]*\.jsonl$/.test(name))
    .sort((a, b) => Number(a.name === active) - Number(b.name === active) || (a.name < b.name ? -1 : 1));
}

/** A cursor at the end of all files. It serves for comparison only, because it has no anchor to read on from. */
export function cursorBehind(files: StoreFile[]): StoreCursor {
  const rotated = files.filter(({ name }) => name !== active);
  const read = files.find(({ name }) => name === active)?.size ?? 0;
  return {
    files: Object.fromEntries(rotated.map(({ name, size }) => [name, { read: size, size }])),
    active: { read, anchor: { bytes: 0, sha256: "" } },
    seen: "",
  };
}

/** How many bytes of a store lie behind a cursor. */
export function unreadIn(files: StoreFile[], cursor: StoreCursor | undefined): number {
  const written = cursor?.active?.read ?? 0;
  const isNew = ({ name }: StoreFile): boolean => name !== active && cursor?.files[name] === undefined;
  // The file that was being written at the cursor has been rotated away since, and was read up to that place.
  const rotated = files.some(isNew) || files.some(({ name, size }) => name === active && size < written);
  const unread = files.map(({ name, size }) => {
    if (name !== active) return size - (cursor?.files[name]?.read ?? 0);
    return rotated ? size : size - written;
  });
  const sum = unread.reduce((all, some) => all + some, 0);
  return Math.max(0, rotated ? sum - written : sum);
}

/**
 * Fetches what a node's store holds behind a cursor into files of a directory.
 * @param limit how many bytes to fetch at most
 */
export async function fetchStore(
  url: string,
  cursor: StoreCursor | undefined,
  directory: string,
  limit: number,
  patience?: Patience,
): Promise<StoreParts> {
  await mkdir(directory, { recursive: true });
  const reading = new Reading(url, cursor, directory, limit, patience);
  // The file that was being written at the first listing may be rotated away before it is read.
  for (let round = 0; round < 3 && !reading.more; round++) {
    const files = await filesOf(url);
    reading.listed = files;
    const unread = files.filter(({ name }) => !reading.knows(name));
    if (unread.length === 0) break;
    for (const file of unread) await reading.read(file);
  }
  return reading.result();
}

class Reading {
  more = false;
  listed: StoreFile[] = [];
  readonly #url: string;
  readonly #before: StoreCursor | undefined;
  readonly #directory: string;
  readonly #patience: Patience | undefined;
  readonly #parts: StorePart[] = [];
  readonly #files: StoreCursor["files"] = {};
  /** Files that were listed but could not be fetched any more. */
  readonly #gone = new Set<string>();
  /** Places in files that were being written, and that may have other names by now. */
  #places: Place[];
  #active: Place | undefined;
  #left: number;
  #dropped = 0;

  constructor(
    url: string,
    cursor: StoreCursor | undefined,
    directory: string,
    limit: number,
    patience: Patience | undefined,
  ) {
    this.#patience = patience;
    this.#url = url;
    this.#before = cursor;
    this.#directory = directory;
    this.#left = limit;
    this.#places = cursor?.active ? [cursor.active] : [];
  }

  knows(name: string): boolean {
    if (name === active) return this.#active !== undefined;
    return this.#files[name] !== undefined || this.#gone.has(name);
  }

  async read(file: StoreFile): Promise<void> {
    if (this.#left <= 0) {
      this.more = true;
      return;
    }
    try {
      if (file.name === active) await this.#readActive();
      else await this.#readRotated(file);
    } catch (error) {
      if (!isAbsent(error)) throw error;
      // A rotation leaves no active file for a moment. A rotated file was dropped by its age since the listing.
      if (file.name === active) return;
      const known = this.#before?.files[file.name];
      // It may be the file of a known place. What was read of it does not count as dropped, and it counts only once.
      const place = known ? undefined : this.#places.shift();
      this.#dropped += Math.max(0, file.size - (known?.read ?? place?.read ?? 0));
      this.#gone.add(file.name);
    }
  }

  result(): StoreParts {
    const before = this.#before;
    const names = new Set(this.listed.map(({ name }) => name));
    for (const [name, file] of Object.entries(before?.files ?? {})) {
      if (this.knows(name)) continue;
      if (names.has(name)) this.#files[name] = file;
      else this.#dropped += file.size - file.read;
    }
    const pending = this.#places.find((place) => place === before?.active);
    // All that exists was read, so this file was rotated away and dropped. It had the size of the others then.
    const lost = pending && (this.#active !== undefined || !this.more);
    if (lost) {
      const sizes = this.listed.filter(({ name }) => name !== active).map(({ size }) => size);
      this.#dropped += Math.max(1, Math.max(0, ...sizes) - pending.read);
    }
    const bytes = this.#parts.reduce((sum, { start, end }) => sum + end - start, 0);
    const cursor: StoreCursor = {
      files: this.#files,
      active: this.#active ?? (lost ? undefined : pending),
      seen: new Date().toISOString(),
    };
    return { parts: this.#parts, bytes, dropped: this.#dropped, cursor, more: this.more };
  }

  async #readActive(): Promise<void> {
    const path = this.#path(active);
    const place = this.#places.at(0);
    const behind = place && (await this.#fetchBehind(active, place, path));
    if (behind) this.#places = [];
    const { bytes, more } = behind ?? (await this.#fetch(active, path, 0));
    const before = behind ? (place?.read ?? 0) - (place?.anchor.bytes ?? 0) : 0;
    const start = behind ? (place?.anchor.bytes ?? 0) : 0;
    const end = Math.max(start, await endOfLastLine(path, bytes));
    this.#take(path, start, end, more);
    this.#active = { read: before + end, anchor: await anchorAt(path, end) };
    // If the file is rotated away before the next listing, its rest is found by this place.
    this.#places.push(this.#active);
  }

  async #readRotated({ name, size }: StoreFile): Promise<void> {
    const path = this.#path(name);
    const known = this.#before?.files[name]?.read;
    const place = known === undefined ? await this.#placeIn(name, size) : undefined;
    const start = known ?? place?.read ?? 0;
    if (place) {
      this.#places = this.#places.filter((other) => other !== place);
      // The file being written is another one now.
      if (place === this.#active) this.#active = undefined;
    }
    if (start >= size) {
      this.#files[name] = { read: size, size };
      return;
    }
    const { bytes, more } = await this.#fetch(name, path, start);
    // A half line that a killed agent left at its end never becomes whole.
    const end = more ? await endOfLastLine(path, bytes) : bytes;
    this.#take(path, 0, end, more);
    this.#files[name] = { read: start + end, size: Math.max(size, start + end) };
  }

  /** The place that lies in a file that is rotated away; undefined if none does. */
  async #placeIn(name: string, size: number): Promise<Place | undefined> {
    for (const place of this.#places) {
      const { read, anchor } = place;
      if (read > size) continue;
      if (anchor.bytes === 0) return place;
      const path = this.#path("anchor");
      const start = read - anchor.bytes;
      await download(`${this.#url}/${name}`, path, { start, limit: anchor.bytes, patience: this.#patience });
      if (await beginsWith(path, anchor)) return place;
    }
    return undefined;
  }

  /** The bytes from a place's anchor on; undefined if the file is another one. */
  async #fetchBehind(
    name: string,
    { read, anchor }: Place,
    path: string,
  ): Promise<{ bytes: number; more: boolean } | undefined> {
    try {
      const fetched = await this.#fetch(name, path, read - anchor.bytes, anchor.bytes);
      return fetched.bytes >= anchor.bytes && (await beginsWith(path, anchor)) ? fetched : undefined;
    } catch (error) {
      if (error instanceof Refused && error.status === 416) return undefined;
      throw error;
    }
  }

  #fetch(name: string, path: string, start: number, beside = 0): Promise<{ bytes: number; more: boolean }> {
    const limit = this.#left + beside;
    return download(`${this.#url}/${name}`, path, { start, limit, patience: this.#patience });
  }

  #take(path: string, start: number, end: number, more: boolean): void {
    this.#left -= end - start;
    if (more) this.more = true;
    if (end > start) this.#parts.push({ path, start, end });
  }

  #path(name: string): string {
    // Each part has a file of its own, because parts are read only after all were fetched.
    return join(this.#directory, `${this.#parts.length}-${name}`);
  }
}

const isAbsent = (error: unknown): boolean => error instanceof Refused && error.status === 404;

/**
 * The lines in a part of a store's file, many at a time. `torn` is called for each piece that is not a whole line, which
 * a killed agent left.
 */
export async function* storedLinesOf(
  { path, start, end }: StorePart,
  torn: () => void,
): AsyncGenerator<StoredLine[]> {
  for await (const texts of linesOf(path, { start, end })) {
    const lines: StoredLine[] = [];
    for (const text of texts) {
      if (text === "") continue;
      const whole = parse(text);
      if (whole) {
        lines.push(whole);
        continue;
      }
      // The next line follows a killed agent's half line directly. No string value can hold this beginning unescaped.
      for (const piece of text.split(/(?=\{"file":")/)) {
        const line = parse(piece);
        if (line) lines.push(line);
        else torn();
      }
    }
    yield lines;
  }
}

/** Parses a record. Its strings hold bytes, as those of {@link linesOf} do. */
function parse(text: string): StoredLine | undefined {
  try {
    const line = JSON.parse(text) as StoredLine;
    if (
      typeof line.uid !== "string" ||
      typeof line.message !== "string" ||
      !Number.isSafeInteger(line.offset)
    )
      return undefined;
    if (typeof line.file !== "string") line.file = "";
    // An escape such as \u2028 stands for a character of several bytes.
    if (text.includes("\\u")) {
      const { time, request_id, message } = JSON.parse(Buffer.from(text, "latin1").toString()) as StoredLine;
      line.time = time;
      line.request_id = request_id === null ? null : bytesOf(request_id);
      line.message = bytesOf(message);
    }
    return line;
  } catch {
    return undefined;
  }
}

/** A stored line's text as it was in the pod's log. */
export const lineOf = ({ time, request_id, message }: StoredLine): string =>
  time === null || request_id === null ? message : `${time} ${request_id} ${message}`;
