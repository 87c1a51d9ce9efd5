/** Reads trailers: the lines `Name: value` at the end of a commit's message, which Git itself tells apart from prose. */
import type { Git } from "../../../lib/git/git.ts";

/** A commit with the trailers of its message, including those of commits that were squashed into it. */
export interface TrailedCommit {
  commit: string;
  /** Undefined for the first commit of the history or of a shallow clone. */
  parent: string | undefined;
  /** One group for each line with the wanted name, with the lines that follow it. Names are in lower case. */
  groups: Map<string, string>[];
}

// This prints the trailers as they are in the message. For single trailers, a person's trailer.NAME.key would change the names.
const block = "%(trailers)";

/** The trailers of one commit, as lines `Name: value`. */
export async function readTrailers(git: Git, revision: string): Promise<string[]> {
  return trailerLines(await git.run("log", "-1", `--format=${block}`, revision));
}

// A line that begins with white space continues the previous one. There may be prose between trailers.
const trailerLines = (text: string): string[] =>
  text
    .replace(/\n[^\S\n]+(?=\S)/g, " ")
    .split("\n")
    .filter((line) => /^[A-Za-z0-9][A-Za-z0-9-]*[^\S\n]*:/.test(line));

/**
 * Every commit in a revision's history whose message has a line with the given name. Children come before their parents,
 * whatever their dates. A squashed commit has several messages in one, but Git finds trailers only in the last paragraph.
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

// `git merge --squash` writes the output of `git log`: the newest commit first, with indented messages. Git servers and `git
// rebase` write the messages unchanged, the oldest first.
function messages(body: string): string[] {
  const [before = "", ...logged] = body.split(/^commit [0-9a-f]{40,64}\n(?=(?:Merge|Author): )/m);
  return [before, ...logged.reverse().map((entry) => entry.replace(/^ {4}/gm, ""))];
}

/** Every value of a trailer in the given commits. */
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
