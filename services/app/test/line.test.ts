import { expect, test } from "vitest";
import { escapeMessage, formatLine, parseLine, unescapeMessage } from "../src/line.ts";

const messages = [
  "plain",
  "two\nlines",
  "windows\r\nline",
  "a literal \\n stays two characters",
  "\\",
  "\\\\\n\\",
  "  spaces kept  ",
  "tab\tand nul\0",
  "naïve 日本語 🦉 \u2028",
];

test.each(messages)("escaping %j is reversible and leaves one line", (message) => {
  const escaped = escapeMessage(message);
  expect(escaped).not.toMatch(/[\n\r]/);
  expect(unescapeMessage(escaped)).toBe(message);
  const entry = { time: "2026-01-02T03:04:05.678Z", id: "some-id", message };
  expect(parseLine(formatLine(entry.time, entry.id, escaped))).toEqual(entry);
});

test("the format of a line", () => {
  expect(formatLine("2026-01-02T03:04:05.678Z", "r1", escapeMessage("a\\b\nc\rd"))).toBe(
    "2026-01-02T03:04:05.678Z r1 a\\\\b\\nc\\rd\n",
  );
});

test.each(["\\t", "end\\", "\\ "])("%j is not an escaped message", (escaped) => {
  expect(() => unescapeMessage(escaped)).toThrow(SyntaxError);
});

test.each(["", "time only", "time id a\nb\n"])("%j is not a line", (line) => {
  expect(() => parseLine(line)).toThrow(SyntaxError);
});
