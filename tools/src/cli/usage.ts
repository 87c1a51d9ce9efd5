import { Failure } from "../../../lib/failure.ts";
import { quoted } from "../../../lib/quoted.ts";

/** A command line that is wrong; the process ends with code 2. */
export class WrongUsage extends Failure {}

/**
 * The next command, with `the same command` replaced by the command line of this process: a person who copies it keeps
 * their own options.
 */
export const spelledOut = (next: string, started = process.argv.slice(2)): string =>
  next.replace(/\bthe same command( with (?=-))?/, (_, more) => {
    const [script = "", ...options] = started.map(quoted);
    return ["npm run", script, "--", ...options].join(" ") + (more ? " " : "");
  });

/** Exit codes of every command. */
export const exitCodes = {
  /** A rule found something, a wait failed or a release was refused. The last lines say what, and what to do. */
  failed: 1,
  usage: 2,
  /** The repository has another layout, or a tool or a pinned module's source is missing, so there is no result. */
  broken: 3,
} as const;

/** Reads a number of seconds from a command line. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new WrongUsage(`expected seconds, got '${text}'`);
  return value;
}
