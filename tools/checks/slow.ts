/** Finds the tests that `npm test` leaves to `npm run test:slow`: those with the tag `slow`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { globSync } from "tinyglobby";

/** Test files below a directory. Their paths are relative to it. */
export interface SlowFiles {
  /** Files in which every test is slow. */
  whole: string[];
  /** Files in which some tests are slow. */
  part: string[];
}

/** The files with slow tests. A comment marks all tests of a file, wherever vitest finds one; an import marks some of them. */
export function slowFiles(directory: string): SlowFiles {
  const ignore = ["**/node_modules/**", "tools/templates/**", "services/**", "e2e/**", "**/*.long.test.ts"];
  const files = globSync("**/*.test.ts", { cwd: directory, ignore }).sort();
  const texts = files.map((file) => ({ file, text: readFileSync(join(directory, file), "utf8") }));
  const whole = texts
    .filter(({ text }) => /(\/\/|\*)\s*@module-tag\s+slow\b/.test(text))
    .map(({ file }) => file);
  const part = texts
    .filter(({ text }) => /^import \{[^}]*\b(slow|sweep)\b[^}]*\} from "[^"]*\/long\.ts";$/m.test(text))
    .map(({ file }) => file)
    .filter((file) => !whole.includes(file));
  return { whole, part };
}

/**
 * Arguments of vitest, in a directory, for the slow tests or for all others. They exclude files without a test to run,
 * because loading a file takes a second.
 * @returns undefined if slow tests are wanted and there are none
 */
export function choice(directory: string, wanted: "slow" | "others"): string[] | undefined {
  const { whole, part } = slowFiles(directory);
  const none = whole.length + part.length === 0;
  if (wanted === "slow") return none ? undefined : ["--tagsFilter", "slow", ...whole, ...part];
  return none ? [] : ["--tagsFilter", "!slow", ...whole.flatMap((file) => ["--exclude", file])];
}
