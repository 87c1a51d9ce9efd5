import { Failure } from "../../../lib/failure.ts";
import { quoted } from "../../../lib/quoted.ts";

/** A command line that cannot be meant; the process ends with code 2. */
export class WrongUsage extends Failure {}

/**
 * What is next, with the command line that this process was started with where it says `the same command`: a person who
 * copies it has their own options again.
 */
export const spelledOut = (next: string, started = process.argv.slice(2)): string =>
  next.replace(/\bthe same command( with (?=-))?/, (_, more) => {
    const [script = "", ...options] = started.map(quoted);
    return ["npm run", script, "--", ...options].join(" ") + (more ? " " : "");
  });

/** Exit codes of every command. */
export const exitCodes = {
  /** A rule found something, a wait ended in vain, a release was refused: the last lines say what and what to do. */
  failed: 1,
  usage: 2,
  /** The repository is of another layout, or a tool or a pinned module's source is missing, so nothing can be said. */
  broken: 3,
} as const;

/** Reads a number of seconds from a command line. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new WrongUsage(`expected seconds, got '${text}'`);
  return value;
}
