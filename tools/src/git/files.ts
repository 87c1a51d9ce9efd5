/** Facts about files besides their text: the targets of symbolic links, and whether Git ignores a file. */
import { readlinkSync } from "node:fs";
import { join, posix } from "node:path";
import { Git } from "../../../lib/git/git.ts";

/** A symbolic link that Git tracks or would track. */
export interface Link {
  path: string;
  target: string;
}

/** The symbolic links among the files of a repository. @param files what `listFiles` says */
export function linksAmong(root: string, files: string[]): Link[] {
  return files.flatMap((path) => {
    const target = targetOf(join(root, path));
    return target === undefined ? [] : [{ path, target }];
  });
}

function targetOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // Most files are not links, and some were deleted from the working tree.
    return undefined;
  }
}

/** True if following a link leaves the repository at any step. Argo CD checks each step, and not only the end. */
export function leavesRepository({ path, target }: Link): boolean {
  if (target.startsWith("/")) return true;
  let current = posix.dirname(path);
  for (const part of target.split("/")) {
    current = posix.join(current, part);
    if (current === ".." || current.startsWith("../")) return true;
  }
  return false;
}

/** Returns those of the given paths that exist in the working tree and that Git ignores. */
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
