/** The search store, VictoriaLogs: sends lines to it, and asks which lines it has. */
import { hash } from "node:crypto";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { Failure } from "./failure.ts";
import { bytesOf, linesIn, textOf } from "./lines.ts";

/** A line in the form that the search store takes: a JSON object, its bytes as {@link linesIn} has them. */
export interface SearchLine {
  /** RFC 3339. */
  time: string;
  json: string;
}

/** What preparing lines left out or changed. */
export interface Prepared {
  lines: SearchLine[];
  /** Lines whose message was cut, because they are longer than the search store takes. */
  shortened: number;
  /** Half lines that killed agents left; the whole lines follow them. */
  torn: number;
}

/** VictoriaLogs leaves out a line whose fields together exceed 2 MiB. */
export const longestBytes = 2_000_000;
/** How much of the message of a longer line is kept. */
export const shortenedCharacters = 256 * 1024;

/** The lines of an answer, as {@link linesIn} has them. */
export const linesOfAnswer = ({ body }: Response): AsyncIterable<string[]> =>
  linesIn(body ? Readable.fromWeb(body as ReadableStream) : Readable.from([]));

const beginning = '{"file":"';
const timeKey = '"time":"';

/**
 * Prepares lines of a node's store. Most are passed on as they are. A half line is left out, a line without a time gets
 * that of the line before it, and only the beginning of the message is kept of a line that is too long.
 * @param before the time for a first line without one, RFC 3339
 */
export function prepare(texts: string[], before: string): Prepared {
  const prepared: Prepared = { lines: [], shortened: 0, torn: 0 };
  let time = before;
  for (const text of texts) {
    if (text === "") continue;
    // No string value can hold this beginning unescaped.
    const whole = text.startsWith(beginning) && text.indexOf(beginning, 1) < 0;
    for (const piece of whole ? [text] : text.split(/(?=\{"file":")/)) {
      const place = piece.lastIndexOf(timeKey);
      const quick = whole && place > 0 && piece.length <= longestBytes && piece.endsWith("}");
      if (quick) {
        const start = place + timeKey.length;
        time = piece.slice(start, piece.indexOf('"', start));
        prepared.lines.push({ time, json: piece });
        continue;
      }
      const line = slowly(piece, time);
      if (!line) {
        prepared.torn++;
        continue;
      }
      ({ time } = line);
      prepared.lines.push(line);
      if (piece.length > longestBytes) prepared.shortened++;
    }
  }
  return prepared;
}

const newline = 0x0a;
const closing = 0x7d;

/**
 * True if lines, each with its newline, may all be sent on as they are, because {@link prepare} would change nothing.
 * That is usual, and looking at the bytes costs a fifth of making strings of them.
 */
export function asTheyAre(bytes: Buffer): boolean {
  let lines = 0;
  for (let start = 0; start < bytes.length; lines++) {
    const end = bytes.indexOf(newline, start);
    if (end < 0 || end - start > longestBytes || bytes[end - 1] !== closing) return false;
    if (bytes.indexOf(beginning, start) !== start) return false;
    if (bytes.lastIndexOf(timeKey, end) < start) return false;
    start = end + 1;
  }
  // If the beginning stands as often as there are lines, no line has a half one before it.
  let found = 0;
  for (let place = bytes.indexOf(beginning); place >= 0; found++)
    place = bytes.indexOf(beginning, place + beginning.length);
  return found === lines;
}

function slowly(piece: string, before: string): SearchLine | undefined {
  try {
    const fields = JSON.parse(textOf(piece)) as { time?: string | null; message: string };
    if (typeof fields.message !== "string") return undefined;
    const time = fields.time ?? before;
    return { time, json: jsonOf({ ...fields, time }) };
  } catch {
    return undefined;
  }
}

/** A line's fields as JSON. If the line would be too long, only the beginning of the message is kept. */
export function jsonOf(fields: { message: string } & Record<string, unknown>): string {
  const json = bytesOf(JSON.stringify(fields));
  if (json.length <= longestBytes) return json;
  // The cut must not split a surrogate pair.
  const message = fields.message.slice(0, shortenedCharacters).replace(/[\ud800-\udbff]$/, "");
  const shortened_from_bytes = Buffer.byteLength(fields.message);
  return bytesOf(JSON.stringify({ ...fields, message, shortened_from_bytes }));
}

interface Fields {
  time?: string;
  _time?: string;
  request_id?: string | null;
  pod?: string | null;
  message?: string;
  _msg?: string;
}

/**
 * Two lines with the same key are one line. It is made of the moment, the request and the message, or of the pod and the
 * text if this is not a line of the API. Archives know neither file nor offset.
 */
function keyOf(fields: Fields): string {
  const message = fields.message ?? fields._msg ?? "";
  const [first, second] = fields.request_id
    ? [String(Date.parse(fields.time ?? fields._time ?? "")), fields.request_id]
    : ["", fields.pod ?? ""];
  return hash("sha256", `${first}\t${second}\t${message}`, "base64");
}

/** How much one request sends, in characters. */
export const requestCharacters = 4 * 1024 * 1024;
const patienceMs = 60_000;

/** The search store could not be reached: it may have been killed. */
export class Away extends Failure {
  override name = "Away";
}

/** VictoriaLogs at an address, such as http://127.0.0.1:9428. */
export class SearchStore {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  /**
   * Sends lines. When this returns they are accepted, but a kill of the store may lose those of the last seconds.
   * @throws Failure if it does not answer or refuses, as with a full disk; some lines may have been accepted then
   */
  async insert(lines: SearchLine[]): Promise<void> {
    let body: string[] = [];
    let characters = 0;
    const send = async (): Promise<void> => {
      if (body.length > 0) await this.insertBytes(Buffer.from(body.join(""), "latin1"));
      body = [];
      characters = 0;
    };
    for (const { json } of lines) {
      body.push(json, "\n");
      characters += json.length + 1;
      if (characters > requestCharacters) await send();
    }
    await send();
  }

  /** The same for the bytes of lines, each with its newline. */
  async insertBytes(bytes: Buffer): Promise<void> {
    const path = "/insert/jsonline?_stream_fields=namespace,pod,node&_msg_field=message&_time_field=time";
    // With another content type the answer is 200, but nothing is stored.
    const headers = { "content-type": "application/stream+json" };
    const answer = await this.#ask(path, { method: "POST", headers, body: bytes as Buffer<ArrayBuffer> });
    await answer.arrayBuffer();
  }

  /** Makes queries find the lines sent so far, which otherwise takes a second or more. */
  async flush(): Promise<void> {
    await (await this.#ask("/internal/force_flush", {})).arrayBuffer();
  }

  /**
   * Those of the given lines that the store does not have yet. A line that is given twice has to be there twice.
   * Lines of one moment have to be given together.
   */
  async missing(lines: SearchLine[]): Promise<SearchLine[]> {
    if (lines.length === 0) return [];
    await this.flush();
    const times = lines.map(({ time }) => Date.parse(time)).filter((time) => !Number.isNaN(time));
    const from = new Date(times.reduce((least, time) => Math.min(least, time), Date.now())).toISOString();
    const to = new Date(times.reduce((most, time) => Math.max(most, time), 0) + 1).toISOString();
    const keys = lines.map(({ json }) => keyOf(JSON.parse(textOf(json)) as Fields));
    const wanted = new Set(keys);
    const present = new Map<string, number>();
    const query = `_time:[${from}, ${to}] | fields _time, request_id, pod, _msg`;
    for await (const texts of await this.#query(query))
      for (const text of texts) {
        if (text === "") continue;
        const key = keyOf(JSON.parse(textOf(text)) as Fields);
        if (wanted.has(key)) present.set(key, (present.get(key) ?? 0) + 1);
      }
    return lines.filter((_, index) => {
      const key = keys[index] ?? "";
      const left = present.get(key) ?? 0;
      if (left > 0) present.set(key, left - 1);
      return left === 0;
    });
  }

  /** When its process started. A new process may have lost what the last one had in memory. */
  async started(): Promise<string> {
    const text = await (await this.#ask("/metrics", {})).text();
    const [, started] = /^process_start_time_seconds (\S+)$/m.exec(text) ?? [];
    if (started === undefined) throw new Failure(`${this.url}/metrics does not say when its process started`);
    return started;
  }

  async #query(query: string): Promise<AsyncIterable<string[]>> {
    const body = new URLSearchParams({ query });
    return linesOfAnswer(await this.#ask("/select/logsql/query", { method: "POST", body }));
  }

  async #ask(path: string, init: RequestInit): Promise<Response> {
    const url = `${this.url}${path}`;
    const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(patienceMs) }).catch((cause) => {
      throw new Away(`the search store at ${this.url} does not answer`, { cause });
    });
    if (answer.ok) return answer;
    const reason = (await answer.text().catch(() => "")).slice(0, 200).trim();
    throw new Failure(`the search store answers ${answer.status} to ${path.split("?")[0]}`, {
      cause: reason,
    });
  }
}
