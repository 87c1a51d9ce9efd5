import { execa } from "execa";
import type { ServiceTag } from "../graph.ts";
import { type Repository, serviceNames } from "../repository.ts";

/** The trailer of a commit that puts an earlier image back, with the tag that it replaces. */
export const rolledBackTrailer = "Rolled-Back";

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

/** The tags of every service of a repository that has a Dockerfile; one without commits has none. */
export async function serviceTags(root: string, repository: Repository): Promise<Map<string, ServiceTag>> {
  const tags = new Map<string, ServiceTag>();
  for (const service of serviceNames(repository)) {
    const expected = await sourceTag(root, `services/${service}`).catch(() => undefined);
    tags.set(service, { expected, rolledBack: await lastRolledBack(root, service) });
  }
  return tags;
}

/** The tag that the newest deployment of a service rolled back from; undefined where it is no rollback. */
export async function lastRolledBack(root: string, service: string): Promise<string | undefined> {
  const format = `%(trailers:key=${rolledBackTrailer},valueonly)`;
  const { stdout } = await execa("git", ["log", "-1", `--grep=^deploy(${service}): `, `--format=${format}`], {
    cwd: root,
    reject: false,
  });
  return stdout.trim() || undefined;
}
