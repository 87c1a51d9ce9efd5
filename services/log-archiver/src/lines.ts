import { createReadStream } from "node:fs";

const newline = 0x0a;

/**
 * The lines of a byte stream, without their newlines; a last one without a newline is a line too.
 * Only a newline ends a line: messages may hold every other separator that readline would split at.
 */
export async function* linesIn(stream: AsyncIterable<Buffer | string>): AsyncGenerator<string> {
  let rest: Buffer[] = [];
  for await (const piece of stream) {
    const chunk = typeof piece === "string" ? Buffer.from(piece) : piece;
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      const part = chunk.subarray(start, end);
      yield rest.length === 0 ? part.toString() : Buffer.concat([...rest, part]).toString();
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
  if (rest.length > 0) yield Buffer.concat(rest).toString();
}

/** The lines of a file. */
export const linesOf = (path: string): AsyncGenerator<string> =>
  linesIn(createReadStream(path, { highWaterMark: 1024 * 1024 }));

/** The parts of a line of the API: `<RFC 3339 time> <request id> <escaped message>`; undefined for any other text. */
export function partsOf(line: string): { time: string; id: string; message: string } | undefined {
  const first = line.indexOf(" ");
  const second = line.indexOf(" ", first + 1);
  if (first < 1 || second < first + 2) return undefined;
  const time = line.slice(0, first);
  if (!/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(time)) return undefined;
  return { time, id: line.slice(first + 1, second), message: line.slice(second + 1) };
}
