import { execa } from "execa";

/** The tag of a service's image: the first 12 hex digits of its committed sources' tree, so that unchanged sources keep theirs. */
export async function sourceTag(checkout: string, directory: string): Promise<string> {
  const object = `HEAD:${directory}`;
  const { stdout, failed } = await execa("git", ["rev-parse", "--verify", "--quiet", object], {
    cwd: checkout,
    reject: false,
  });
  if (failed)
    throw new Error(
      `${directory} is in no commit yet: commit it, its tag is that of git rev-parse ${object}`,
    );
  return stdout.slice(0, 12);
}
