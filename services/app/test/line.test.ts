import fc from "fast-check";
import { expect, test } from "vitest";
import { escapeMessage, formatLine, parseLine, printable, unescapeMessage } from "../src/line.ts";

const messages = [
  "plain",
  "two\nlines",
  "windows\r\nline",
  "a literal \\n stays two characters",
  "\\",
  "\\\\\n\\",
  "  spaces kept  ",
  "tab\tand nul\0",
  "\u001b[2J\u001b]0;title\u0007",
  "DEL \u007f, NEL \u0085, CSI \u009b2J",
  "\\\u001b",
  "\\x1b",
  "naïve 日本語 🦉 \u2028",
];

// Written out, so that it does not share a mistake with the code.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const unsafe = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/;

test.each(messages)("escaping %j is reversible and leaves one line", (message) => {
  const escaped = escapeMessage(message);
  expect(escaped).not.toMatch(unsafe);
  expect(unescapeMessage(escaped)).toBe(message);
  const entry = { time: "2026-01-02T03:04:05.678Z", id: "some-id", message };
  expect(parseLine(formatLine(entry.time, entry.id, escaped))).toEqual(entry);
});

/** Well-formed text that is rich in what is escaped and in what looks like an escape. */
const message = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0x9f }).map((code) => String.fromCharCode(code)),
      fc.constantFrom("\\", "\\x", "\\x1b", "x", "1b", "n", "\n", "\u2028", "é", "🦉"),
      fc.string({ unit: "binary" }),
    ),
  )
  .map((parts) => parts.join(""))
  .filter((text) => text.isWellFormed());
/** The rule that lines were stored by before control characters were escaped. */
const escapedBefore = (text: string) =>
  text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r");

test("every message comes back from its line, which is safe to print", () => {
  const property = fc.property(message, (text) => {
    const escaped = escapeMessage(text);
    expect(escaped).not.toMatch(unsafe);
    expect(unescapeMessage(escaped)).toBe(text);
    expect(printable(escaped)).toBe(escaped);
  });
  fc.assert(property, { numRuns: 2000 });
});

test("every message comes back from the line of an earlier version, which can be made safe to print", () => {
  const property = fc.property(message, (text) => {
    const line = formatLine("2026-01-02T03:04:05.678Z", "r1", escapedBefore(text));
    expect(parseLine(line).message).toBe(text);
    const safe = printable(line);
    expect(safe.slice(0, -1)).not.toMatch(unsafe);
    expect(safe).toBe(formatLine("2026-01-02T03:04:05.678Z", "r1", escapeMessage(text)));
  });
  fc.assert(property, { numRuns: 2000 });
});

test("each control character but the tab has an escape of its own", () => {
  const controls = Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code)).filter((character) =>
    unsafe.test(character),
  );
  expect(controls).toHaveLength(64);
  expect(escapeMessage(controls.join(""))).toMatch(/^(\\n|\\r|\\x[01][0-9a-f]|\\x7f|\\x[89][0-9a-f]){64}$/);
  expect(escapeMessage("\u0000\u000b\u001b\u007f\u0080\u009f\t")).toBe("\\x00\\x0b\\x1b\\x7f\\x80\\x9f\t");
});

test("what is no line is made safe to print too, line by line", () => {
  expect(printable("\u0000\u001b[2J\n\ta\rb\\\n")).toBe("\\x00\\x1b[2J\n\ta\\rb\\\n");
});

test("the format of a line", () => {
  expect(formatLine("2026-01-02T03:04:05.678Z", "r1", escapeMessage("a\\b\nc\rd"))).toBe(
    "2026-01-02T03:04:05.678Z r1 a\\\\b\\nc\\rd\n",
  );
});

test.each(["\\t", "end\\", "\\ ", "\\x", "\\x1", "\\x1B", "\\x41", "\\x09", "\\x0a", "\\xa0", "\\x1\n"])(
  "%j is not an escaped message",
  (escaped) => {
    expect(() => unescapeMessage(escaped)).toThrow(SyntaxError);
  },
);

test.each(["", "time only", "time id a\nb\n"])("%j is not a line", (line) => {
  expect(() => parseLine(line)).toThrow(SyntaxError);
});
