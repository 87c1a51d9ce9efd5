/** Trailers: the lines `Name: value` at the end of a commit's message, as Git itself tells them from prose. */
import type { Git } from "../../../lib/git/git.ts";

/** A commit with its trailers. */
export interface TrailedCommit {
  commit: string;
  /** Undefined where the history begins, or a shallow clone's does. */
  parent: string | undefined;
  /** By name in lower case, as Git compares them; of one that stands twice the last counts. */
  trailers: Map<string, string>;
}

/** The trailers of one commit, as lines `Name: value`. */
export async function readTrailers(git: Git, revision: string): Promise<string[]> {
  const printed = await git.run("log", "-1", "--format=%(trailers:only,unfold)", revision);
  return printed.split("\n").filter(Boolean);
}

/** A revision's history, children before their parents whatever their clocks said: every commit that has trailers. */
export async function trailedCommits(git: Git, revision: string): Promise<TrailedCommit[]> {
  const format = "--format=%H %P%n%(trailers:only,unfold)";
  const printed = await git.run("log", "-z", "--topo-order", format, revision);
  return printed.split("\0").flatMap((record) => {
    const [hashes = "", ...lines] = record.split("\n").filter(Boolean);
    const [commit = "", parent] = hashes.trim().split(" ");
    return lines.length > 0 ? [{ commit, parent, trailers: trailerMap(lines) }] : [];
  });
}

/** The values of lines `Name: value`, by name in lower case. */
export function trailerMap(lines: string[]): Map<string, string> {
  return new Map(
    lines.flatMap((line) => {
      const [, name, value] = /^([^\s:]+)\s*:\s*(.*)$/.exec(line) ?? [];
      return name === undefined ? [] : [[name.toLowerCase(), value ?? ""] as const];
    }),
  );
}
