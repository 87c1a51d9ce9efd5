import { constants, type Stats, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { text } from "node:stream/consumers";
import { finishDrop, type Generations, generationsOf, shiftGenerations } from "./generations.ts";
import { endOfLastLine } from "./lines.ts";
import { LogView, type Part } from "./log-view.ts";
import { WriteQueue } from "./write-queue.ts";

/** How lines are kept. The settings may be changed while the file is in use. */
export interface LogSettings {
  /** When a batch counts as stored: after its fdatasync, or once it is written, with an fdatasync each second or none. */
  SYNC: "always" | "interval" | "never";
  /** The file is rotated before it would grow beyond this. */
  MAX_FILE_BYTES: number;
  /** How many rotated files are kept beside it. */
  KEPT_FILES: number;
}

/** What happens in the file, for metrics and logs. */
export interface LogEvents {
  batch?(lines: number): void;
  synced?(seconds: number): void;
  syncFailed?(error: unknown): void;
  rotated?(): void;
  tornLine?(bytes: number): void;
}

/** What is on disk and acknowledged: which file, and how many of its bytes. */
interface Committed {
  device: number;
  inode: number;
  size: number;
}

const syncIntervalMs = 1000;

/**
 * An append-only file of lines with one writer, this object, and its rotated generations.
 *
 * Lines that arrive while a write is under way share the next write and its one fdatasync. A batch that fails is
 * taken out of the file again, so a refused line is not stored. If the file was removed, replaced or
 * truncated, it is opened anew, so that writing recovers by itself.
 */
export class LogFile {
  readonly path: string;
  settings: LogSettings;
  readonly #events: LogEvents;
  #handle: FileHandle | undefined;
  #committed: Committed | undefined;
  #failed = false;
  readonly #queue = new WriteQueue(
    (bytes) => this.#write(bytes),
    (lines) => this.#events.batch?.(lines),
  );
  #rotating: Promise<void> | undefined;
  #rotations = 0;
  #syncTimer: NodeJS.Timeout | undefined;

  constructor(path: string, settings: LogSettings, events: LogEvents = {}) {
    this.path = path;
    this.settings = settings;
    this.#events = events;
  }

  /** How many lines wait for a write. */
  get queued(): number {
    return this.#queue.length;
  }

  /** How many bytes of the file, without its generations, are stored lines. */
  get size(): number {
    return this.#committed?.size ?? 0;
  }

  /**
   * Creates the file if it is absent and cuts off a torn last line. Call it before the first `append`, which does
   * the same if this was not called or failed. Rejects with the system's error.
   */
  async open(): Promise<void> {
    await this.#openRepaired();
    // If this fails, the next rotation does it, or fails with the error.
    await finishDrop(this.path).catch(() => undefined);
  }

  /**
   * Appends this many lines, each of which ends in its only newline. Resolves once they are stored as `SYNC` says; calls
   * resolve in the order of their lines in the file. Rejects with the system's error if they could not be stored, while
   * too many lines wait, and after `close`; then none of them is in the file.
   */
  append(text: string, lines = 1): Promise<void> {
    return this.#queue.add(text, lines);
  }

  /**
   * The whole lines that are stored at this moment, those of the generations first. The caller has to close the view.
   * Rejects with the system's error if they cannot be read.
   */
  async view(): Promise<LogView> {
    for (;;) {
      // No await may stand between seeing that no rotation runs and taking the count, or one could begin unseen.
      while (this.#rotating) await this.#rotating.catch(() => undefined);
      const rotations = this.#rotations;
      const parts: Part[] = [];
      let dropped = 0;
      try {
        const generations = await generationsOf(this.path).catch(noneIfAbsent);
        dropped = generations.dropped;
        for (const { path } of generations.kept) parts.push(...(await this.#partOf(path)));
        parts.push(...(await this.#partOf(this.path)));
      } catch (error) {
        await new LogView(parts).close();
        throw error;
      }
      const view = new LogView(parts, dropped);
      if (rotations === this.#rotations) return view;
      await view.close();
    }
  }

  /** The last stored lines, as many as fit into `bytes`. */
  async tail(bytes: number): Promise<string> {
    const view = await this.view();
    try {
      const start = Math.max(0, view.size - bytes);
      const tail = await text(view.stream(start, view.size));
      return start === 0 ? tail : tail.slice(tail.indexOf("\n") + 1);
    } finally {
      await view.close();
    }
  }

  /** Resolves if the file can be opened for appending, else rejects with the system's error. */
  async check(): Promise<void> {
    const { O_WRONLY, O_APPEND, O_CREAT } = constants;
    await (await open(this.path, O_WRONLY | O_APPEND | O_CREAT, 0o644)).close();
  }

  /** Refuses further lines, waits for those accepted, and closes the file. */
  async close(): Promise<void> {
    await this.#queue.close();
    clearTimeout(this.#syncTimer);
    const handle = this.#handle;
    this.#handle = undefined;
    try {
      if (handle && this.settings.SYNC !== "always") await this.#sync(handle);
    } finally {
      await handle?.close();
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    const { MAX_FILE_BYTES, SYNC } = this.settings;
    let { handle, committed } = await this.#openRepaired();
    if (committed.size > 0 && committed.size + bytes.length > MAX_FILE_BYTES) {
      await this.#rotate();
      ({ handle, committed } = await this.#openRepaired());
    }
    try {
      for (let written = 0; written < bytes.length; ) {
        written += (await handle.write(bytes, written)).bytesWritten;
      }
      if (SYNC === "always") await this.#sync(handle);
      committed.size += bytes.length;
      if (SYNC === "interval") this.#syncTimer ??= setTimeout(() => this.#syncLater(), syncIntervalMs);
    } catch (error) {
      this.#failed = true;
      // This takes the failed batch out. If even that fails, the next batch tries it again first.
      await this.#openRepaired().catch(() => undefined);
      throw error;
    }
  }

  async #sync(handle: FileHandle): Promise<void> {
    const start = performance.now();
    await handle.datasync();
    this.#events.synced?.((performance.now() - start) / 1000);
  }

  #syncLater(): void {
    this.#syncTimer = undefined;
    if (this.#handle) this.#sync(this.#handle).catch((error) => this.#events.syncFailed?.(error));
  }

  async #rotate(): Promise<void> {
    this.#rotations += 1;
    this.#rotating = this.#shift().finally(() => {
      this.#rotating = undefined;
    });
    await this.#rotating;
  }

  async #shift(): Promise<void> {
    // A generation is synced whatever SYNC says, because nothing repairs it later.
    if (this.#handle) await this.#sync(this.#handle);
    await shiftGenerations(this.path, this.settings.KEPT_FILES);
    await this.#openRepaired();
    this.#events.rotated?.();
  }

  /** The handle to write with: the open one if the file is as the last batch left it, else a new one on a repaired file. */
  async #openRepaired(): Promise<{ handle: FileHandle; committed: Committed }> {
    // A synchronous stat of a known file costs a microsecond; waiting for a thread that does it costs fifty.
    const found = statSync(this.path, { throwIfNoEntry: false });
    const before = this.#handle;
    if (before && this.#committed && found && isSame(found, this.#committed)) {
      if (found.size === this.#committed.size) {
        this.#failed = false;
        return { handle: before, committed: this.#committed };
      }
    }
    this.#handle = undefined;
    await before?.close();
    const { O_RDWR, O_APPEND, O_CREAT } = constants;
    const handle = await open(this.path, O_RDWR | O_APPEND | O_CREAT, 0o644);
    try {
      const status = await handle.stat();
      const size = await endOfLastLine(handle, this.#failed ? this.#limit(status) : status.size);
      if (size < status.size) {
        await handle.truncate(size);
        await handle.datasync();
        if (!this.#failed) this.#events.tornLine?.(status.size - size);
      }
      await syncDirectory(dirname(this.path));
      const committed = { device: status.dev, inode: status.ino, size };
      this.#handle = handle;
      this.#committed = committed;
      this.#failed = false;
      return { handle, committed };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The shown bytes of one file; nothing if it is absent. */
  async #partOf(path: string): Promise<Part[]> {
    const handle = await open(path, "r").catch((error) => {
      if (isAbsent(error)) return undefined;
      throw error;
    });
    if (!handle) return [];
    try {
      return [{ handle, size: await endOfLastLine(handle, this.#limit(await handle.stat())) }];
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** How many of a file's bytes may be kept or shown: in the one being written, only those that are acknowledged. */
  #limit(status: Stats): number {
    if (!this.#committed || !isSame(status, this.#committed)) return status.size;
    return Math.min(status.size, this.#committed.size);
  }
}

function isSame(status: Stats, committed: Committed): boolean {
  return status.ino === committed.inode && status.dev === committed.device;
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

function noneIfAbsent(error: unknown): Generations {
  if (isAbsent(error)) return { kept: [], dropped: 0 };
  throw error;
}

/** Makes a new or renamed file's name as durable as its content. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
