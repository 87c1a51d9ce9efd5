/** Trailers: the lines `Name: value` at the end of a commit's message, as Git itself tells them from prose. */
import type { Git } from "../../../lib/git/git.ts";

/** A commit with the trailers of its message, those of commits that were squashed into it included. */
export interface TrailedCommit {
  commit: string;
  /** Undefined where the history begins, or a shallow clone's does. */
  parent: string | undefined;
  /** For each line of the wanted name that line with those that follow it, by name in lower case, as Git compares them. */
  groups: Map<string, string>[];
}

// As it stands in the message: of what Git prints of single trailers, the person's trailer.NAME.key decides the names.
const block = "%(trailers)";

/** The trailers of one commit, as lines `Name: value`. */
export async function readTrailers(git: Git, revision: string): Promise<string[]> {
  return trailerLines(await git.run("log", "-1", `--format=${block}`, revision));
}

// A line that begins with white space goes on with the one before; prose may stand between trailers.
const trailerLines = (text: string): string[] =>
  text
    .replace(/\n[^\S\n]+(?=\S)/g, " ")
    .split("\n")
    .filter((line) => /^[A-Za-z0-9][A-Za-z0-9-]*[^\S\n]*:/.test(line));

/**
 * A revision's history, children before their parents whatever their clocks said: every commit whose message has a line of
 * a name. After a squash, messages stand one below the other, and Git takes only the last paragraph for trailers.
 */
export async function trailedCommits(git: Git, revision: string, name: string): Promise<TrailedCommit[]> {
  const printed = await git.run("log", "-z", "--topo-order", "--format=%H %P%n%b", revision);
  return printed.split("\0").flatMap((record) => {
    const [hashes = "", ...text] = record.split("\n");
    const [commit = "", parent] = hashes.trim().split(" ");
    const groups: string[][] = [];
    for (const line of messages(text.join("\n")).flatMap(trailerLines)) {
      if (trailerMap([line]).has(name.toLowerCase())) groups.push([line]);
      else groups.at(-1)?.push(line);
    }
    return groups.length > 0 ? [{ commit, parent, groups: groups.map(trailerMap) }] : [];
  });
}

// `git merge --squash` writes what `git log` prints: the newest commit first, and each message moved to the right. The pages of
// Git servers and `git rebase` write messages as they are, the oldest first.
function messages(body: string): string[] {
  const [before = "", ...logged] = body.split(/^commit [0-9a-f]{40,64}\n(?=(?:Merge|Author): )/m);
  return [before, ...logged.reverse().map((entry) => entry.replace(/^ {4}/gm, ""))];
}

/** Every value that a trailer has in some commits. */
export async function trailerValues(git: Git, commits: string, name: string): Promise<string[]> {
  const printed = await git.run("log", "-z", `--format=${block}`, commits);
  const lines = printed.split("\0").flatMap(trailerLines);
  return lines.flatMap((line) => trailerMap([line]).get(name.toLowerCase()) ?? []);
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
