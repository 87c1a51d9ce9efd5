/** One entry of the log file, as {@link formatLine} writes and {@link parseLine} reads it. */
export interface Entry {
  /** RFC 3339 time in UTC with milliseconds. */
  time: string;
  /** The request's id: no spaces. */
  id: string;
  /** The message as the caller sent it. */
  message: string;
}

const escapes = new Map([
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
]);
for (let code = 0; code <= 0x9f; code++) {
  const character = String.fromCharCode(code);
  if (!/\p{Cc}/u.test(character) || character === "\t" || escapes.has(character)) continue;
  escapes.set(character, `\\x${code.toString(16).padStart(2, "0")}`);
}
const originals = new Map([...escapes].map(([original, escaped]) => [escaped, original]));
const special = /[\\\p{Cc}]/u;
const specials = new RegExp(special, "gu");
const controls = /(?!\n)\p{Cc}/gu;

/**
 * Puts a message on one line that is safe to print: backslash becomes `\\`, newline `\n`, carriage return `\r`, and
 * any other control character except the tab `\x` and the two hexadecimal digits of its code, in lower case. Everything
 * else stays as it is.
 */
export function escapeMessage(message: string): string {
  // Most messages hold nothing special, and asking costs less than replacing nothing.
  if (!special.test(message)) return message;
  return message.replace(specials, (character) => escapes.get(character) ?? character);
}

/**
 * The inverse of {@link escapeMessage}. It also reads older lines, in which only newline and carriage return among the
 * control characters are escaped. Throws a SyntaxError on a backslash that escapes nothing known.
 */
export function unescapeMessage(escaped: string): string {
  return escaped.replace(/\\(?:x[\s\S]{0,2}|[\s\S]?)/g, (sequence) => {
    const original = originals.get(sequence);
    if (original === undefined) throw new SyntaxError(`unknown escape ${JSON.stringify(sequence)}`);
    return original;
  });
}

/**
 * Makes stored lines safe to print, older ones too: every control character (U+0000 to U+001F and U+007F to U+009F)
 * except tab and newline is replaced by its escape, `\r` or `\xNN`, and a backslash stays as it is. A line that the
 * service wrote means the same as before: its time and id hold no such character, and the backslashes before one come
 * in pairs.
 */
export function printable(lines: string): string {
  return lines.replace(controls, (character) => escapes.get(character) ?? character);
}

/** The line `<time> <id> <escaped message>` with its newline, for a message that {@link escapeMessage} has escaped. */
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
