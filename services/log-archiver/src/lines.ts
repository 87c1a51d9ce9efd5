/**
 * Lines as this program holds them: strings in which each character is one byte (`latin1`). So a line's bytes come out
 * as they went in, whether they are UTF-8 or not, and are decoded only where their text is needed.
 */
import { createReadStream } from "node:fs";

const newline = 0x0a;

/** A line's text. */
export const textOf = (line: string): string => Buffer.from(line, "latin1").toString("utf8");

/** The reverse: a text as a line of bytes. */
export const bytesOf = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

/**
 * The lines of a byte stream, without their newlines, many at a time; a last one without a newline is a line too.
 * Only a newline ends a line: messages may hold every other separator that readline would split at.
 */
export async function* linesIn(stream: AsyncIterable<Buffer>): AsyncGenerator<string[]> {
  let rest: Buffer[] = [];
  for await (const chunk of stream) {
    const end = chunk.lastIndexOf(newline);
    if (end < 0) {
      rest.push(chunk);
      continue;
    }
    const whole = chunk.toString("latin1", 0, end);
    const text = rest.length === 0 ? whole : Buffer.concat(rest).toString("latin1") + whole;
    rest = end + 1 < chunk.length ? [chunk.subarray(end + 1)] : [];
    yield text.split("\n");
  }
  if (rest.length > 0) yield [Buffer.concat(rest).toString("latin1")];
}

/** A range of a file's bytes. */
export interface Extent {
  start?: number;
  /** Exclusive; the file's end by default. */
  end?: number;
}

/** The lines of a file, or of a part of it. */
export async function* linesOf(path: string, { start = 0, end }: Extent = {}): AsyncGenerator<string[]> {
  if (end !== undefined && end <= start) return;
  const range = end === undefined ? { start } : { start, end: end - 1 };
  yield* linesIn(createReadStream(path, { highWaterMark: 128 * 1024, ...range }));
}

/**
 * The parts of a line of the API: `<RFC 3339 time> <request id> <escaped message>`; undefined for any other text.
 * `rest` is the id and the message, which tell whether two lines belong to the same request.
 */
export function partsOf(line: string): { time: string; rest: string } | undefined {
  const first = line.indexOf(" ");
  if (first < 20 || first > 40 || line.indexOf(" ", first + 1) < first + 2) return undefined;
  const time = line.slice(0, first);
  if (!/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(time)) return undefined;
  return { time, rest: line.slice(first + 1) };
}

// C0 controls except tab, DEL, and C1 controls, which are two bytes in UTF-8.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal must not be sent
const controls = /[\x00-\x08\x0a-\x1f\x7f]|\xc2[\x80-\x9f]/g;

/**
 * A line that is safe to send to a terminal. Control characters are escaped as the API does it, `\r` or `\xNN`, and mean
 * the same when they are read back. Lines by an older API or by others may hold unescaped ones.
 */
export function printable(line: string): string {
  return line.replace(controls, (control) => {
    const code = control.charCodeAt(control.length - 1);
    return code === 0x0d ? "\\r" : `\\x${code.toString(16).padStart(2, "0")}`;
  });
}
