/** What `npm test` leaves to `npm run test:slow`: tests with the tag `slow`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { globSync } from "tinyglobby";

/** Files of tests below a directory, by paths from there. */
export interface SlowFiles {
  /** Every test of them is slow. */
  whole: string[];
  /** Some are. */
  part: string[];
}

/** The files with slow tests: a comment says so of all of a file, wherever vitest finds one, what it imports of some. */
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
 * Arguments of vitest, in a directory, for the slow tests or for all others. What is loaded takes a second a file, so files
 * without a test to run are not.
 * @returns undefined where no test is slow and slow ones are wanted
 */
export function choice(directory: string, wanted: "slow" | "others"): string[] | undefined {
  const { whole, part } = slowFiles(directory);
  const none = whole.length + part.length === 0;
  if (wanted === "slow") return none ? undefined : ["--tagsFilter", "slow", ...whole, ...part];
  return none ? [] : ["--tagsFilter", "!slow", ...whole.flatMap((file) => ["--exclude", file])];
}
