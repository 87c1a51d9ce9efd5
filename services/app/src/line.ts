/** One entry of the log file, as {@link formatLine} writes and {@link parseLine} reads it. */
export interface Entry {
  /** RFC 3339 time in UTC with milliseconds. */
  time: string;
  /** The request's id: no spaces. */
  id: string;
  /** The message as the caller sent it. */
  message: string;
}

const escapes: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r" };
const originals: Record<string, string> = { "\\\\": "\\", "\\n": "\n", "\\r": "\r" };

/** Puts a message on one line: backslash becomes `\\`, newline `\n`, carriage return `\r`; all else stays. */
export function escapeMessage(message: string): string {
  return message.replace(/[\\\n\r]/g, (character) => escapes[character] ?? character);
}

/** The inverse of {@link escapeMessage}. Throws a SyntaxError on a backslash that escapes nothing known. */
export function unescapeMessage(escaped: string): string {
  return escaped.replace(/\\[\s\S]?/g, (sequence) => {
    const original = originals[sequence];
    if (original === undefined) throw new SyntaxError(`unknown escape ${JSON.stringify(sequence)}`);
    return original;
  });
}

/** `<time> <id> <escaped message>` and a newline, of a message that {@link escapeMessage} has put on one line. */
export function formatLine(time: string, id: string, escapedMessage: string): string {
  return `${time} ${id} ${escapedMessage}\n`;
}

/** The inverse of {@link formatLine}, with or without the final newline. Throws a SyntaxError on any other text. */
export function parseLine(line: string): Entry {
  const [, time, id, escaped] = /^(\S+) (\S+) ([^\n\r]*)\n?$/.exec(line) ?? [];
  if (time === undefined || id === undefined || escaped === undefined) {
    throw new SyntaxError(`not a log line: ${JSON.stringify(line)}`);
  }
  return { time, id, message: unescapeMessage(escaped) };
}
