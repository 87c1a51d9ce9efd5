/** Which tests of a run: what takes minutes has the tag `slow`. */
import { readdirSync } from "node:fs";

/** True where arguments of vitest name files of tests, by any part of their paths. */
export const someFiles = (args: string[]): boolean => {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.ts"));
  return args.some((argument) => files.some((file) => `e2e/${file}`.includes(argument)));
};

/** Tells by a test's tags whether `choice` runs it. */
export const isWanted =
  (args: string[], slow: boolean) =>
  (tags: string[]): boolean =>
    slow ? tags.includes("slow") : someFiles(args) || !tags.includes("slow");

/** Arguments of vitest for slow tests only, or for all others; files that are named have all of their tests run. */
export const choice = (args: string[], slow: boolean): string[] =>
  slow ? ["--tagsFilter", "slow", ...args] : someFiles(args) ? args : ["--tagsFilter", "!slow", ...args];
