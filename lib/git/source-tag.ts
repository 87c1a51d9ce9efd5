/** The sources of a service as they are committed, and the tag that names them. */
import { run } from "../process.ts";
import { Git } from "./git.ts";

/** The tag of a service's image: the first 12 hex digits of its committed sources' tree, so that unchanged sources keep theirs. */
export async function sourceTag(checkout: string, directory: string): Promise<string> {
  const object = `HEAD:${directory}`;
  const tree = await new Git(checkout).try("rev-parse", "--verify", "--quiet", object);
  if (tree === undefined)
    throw new Error(
      `${directory} is in no commit yet: commit it, its tag is that of git rev-parse ${object}`,
    );
  return tree.slice(0, 12);
}

/** Unpacks a directory as it is committed: what is built from it is what its tag is the hash of. */
export async function unpackCommitted(checkout: string, directory: string, target: string): Promise<void> {
  const git = new Git(checkout, { made: true });
  // The modes are those of the archive, whatever this process's umask takes away.
  await run("tar", ["-x", "-p", "-C", target], { input: await git.bytes("archive", `HEAD:${directory}`) });
}
