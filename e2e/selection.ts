/** Which tests of a run: what takes minutes has the tag `slow`. */
import { readdirSync } from "node:fs";

/** True where arguments of vitest name files of tests, by any part of their paths. */
export const someFiles = (args: string[]): boolean => {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.ts"));
  return args.some((argument) => files.some((file) => `e2e/${file}`.includes(argument)));
};

/** The filter of tags: slow tests only, or all others; undefined where files are named, of which all tests are run. */
const filterOf = (args: string[], slow: boolean): "slow" | "!slow" | undefined =>
  slow ? "slow" : someFiles(args) ? undefined : "!slow";

/** Arguments of vitest for that filter. */
export const choice = (args: string[], slow: boolean): string[] => {
  const filter = filterOf(args, slow);
  return filter ? ["--tagsFilter", filter, ...args] : args;
};

/** Tells by a test's tags whether `choice` runs it. */
export const isWanted = (args: string[], slow: boolean): ((tags: string[]) => boolean) => {
  const filter = filterOf(args, slow);
  return (tags) => filter === undefined || tags.includes("slow") === (filter === "slow");
};
