/** What Git says of files beyond their text: where links lead, and which files it ignores. */
import { readlinkSync } from "node:fs";
import { join, posix } from "node:path";
import { Git } from "../../../lib/git/git.ts";

/** A link that Git tracks, or would. */
export interface Link {
  path: string;
  target: string;
}

/** The links of a repository that Git tracks, or would track. */
export async function trackedLinks(root: string): Promise<Link[]> {
  const git = new Git(root);
  const listed = await git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard");
  return [...new Set(listed.split("\0"))].flatMap((path) => {
    const target = path === "" ? undefined : targetOf(join(root, path));
    return target === undefined ? [] : [{ path, target }];
  });
}

function targetOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // Most files are no links, and some are deleted from the working tree.
    return undefined;
  }
}

/** True where following a link step by step leaves the repository: Argo CD looks at each step, not only at the end. */
export function leavesRepository({ path, target }: Link): boolean {
  if (target.startsWith("/")) return true;
  let current = posix.dirname(path);
  for (const part of target.split("/")) {
    current = posix.join(current, part);
    if (current === ".." || current.startsWith("../")) return true;
  }
  return false;
}

/** Those of some paths that lie in the working tree and that Git ignores. */
export async function ignoredAmong(root: string, paths: string[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const git = new Git(root);
  const literal = paths.map((path) => `:(literal)${path}`);
  const listed = await git.run(
    "ls-files",
    "-z",
    "--others",
    "--ignored",
    "--exclude-standard",
    "--",
    ...literal,
  );
  return listed.split("\0").filter(Boolean);
}
