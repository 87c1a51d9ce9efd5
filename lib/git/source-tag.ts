/** The sources of a service as they are committed, and the tag that names them. */
import { createHash } from "node:crypto";
import { run } from "../process.ts";
import { Git } from "./git.ts";

/** The tag of a service's image: the first 12 hex digits of its sources' tree hash, so that unchanged sources keep it. */
export async function sourceTag(checkout: string, directory: string): Promise<string> {
  const object = `HEAD:${directory}`;
  const tree = await new Git(checkout).try("rev-parse", "--verify", "--quiet", object);
  if (tree === undefined)
    throw new Error(
      `${directory} is in no commit yet: commit it, its tag is that of git rev-parse ${object}`,
    );
  return tree.slice(0, 12);
}

/** Unpacks a directory as it is committed, so that an image is built from exactly what its tag is the hash of. */
export async function unpackCommitted(checkout: string, directory: string, target: string): Promise<void> {
  const git = new Git(checkout, { made: true });
  // The modes are those of the archive, whatever this process's umask is.
  await run("tar", ["-x", "-p", "-C", target], { input: await git.bytes("archive", `HEAD:${directory}`) });
}

/**
 * The tag that sources will have once they are committed as they are: no file executable, no link among them.
 * @param files their texts, by path from the service's directory
 */
export async function futureTag(checkout: string, files: ReadonlyMap<string, string>): Promise<string> {
  const format = (await new Git(checkout).try("rev-parse", "--show-object-format")) ?? "sha1";
  return treeOf(files, format).toString("hex").slice(0, 12);
}

// A tree is a list of `MODE NAME`, a zero and the hash; the names of trees are sorted as if a slash ended them.
function treeOf(files: ReadonlyMap<string, string>, format: string): Buffer {
  const below = new Map<string, Map<string, string>>();
  const entries: { key: Buffer; entry: Buffer }[] = [];
  const add = (mode: string, name: string, key: string, hash: Buffer): void => {
    entries.push({ key: Buffer.from(key), entry: Buffer.concat([Buffer.from(`${mode} ${name}\0`), hash]) });
  };
  for (const [path, text] of files) {
    const [first = "", ...rest] = path.split("/");
    if (rest.length === 0) add("100644", first, first, objectHash("blob", Buffer.from(text), format));
    else below.set(first, (below.get(first) ?? new Map<string, string>()).set(rest.join("/"), text));
  }
  for (const [name, inside] of below) add("40000", name, `${name}/`, treeOf(inside, format));
  entries.sort((a, b) => Buffer.compare(a.key, b.key));
  return objectHash("tree", Buffer.concat(entries.map(({ entry }) => entry)), format);
}

const objectHash = (kind: string, content: Buffer, format: string): Buffer =>
  createHash(format).update(`${kind} ${content.length}\0`).update(content).digest();
