/** Where commits have to go to be deployed: the remote, and the branch that its cluster follows. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { configurationAt } from "../configuration.ts";
import { Failure } from "../failure.ts";
import { readSource, sourceFile } from "../render/source.ts";
import type { Git } from "./git.ts";

/** The remote that `./deploy.sh` adds for the cluster on this machine, or `origin` if there is none. */
export async function platformRemote(git: Git): Promise<string> {
  return (await git.try("remote", "get-url", "platform")) === undefined ? "origin" : "platform";
}

/** The command that brings a branch of the remote into the checkout and keeps the commits and changes there. */
export const pullCommand = (remote: string, branch: string): string =>
  `git pull --rebase --autostash ${remote} ${branch}`;

/**
 * The branch that the cluster behind a remote follows, as its `source/configmap.yaml` says.
 * @throws Failure if clusters follow several, and it is not known which is meant
 */
export async function followedBranch(git: Git, remote: string): Promise<string> {
  const [branch = "main", ...others] = await followedBranches(git, remote);
  if (others.length === 0) return branch;
  throw new Failure(
    `clusters behind ${remote} follow ${[branch, ...others].join(" and ")}: it is not known which is meant`,
    `the same command with --branch ${branch}`,
  );
}

/** The branches that clusters behind a remote follow; none if no cluster says so. */
export async function followedBranches(git: Git, remote: string): Promise<string[]> {
  const { layout } = configurationAt(git.directory);
  if (!layout) return [];
  const clusters = join(git.directory, layout.clusters);
  const sources = (existsSync(clusters) ? readdirSync(clusters).sort() : [])
    .filter((cluster) => existsSync(join(git.directory, sourceFile(git.directory, cluster))))
    .map((cluster) => ({ cluster, ...readSource(git.directory, cluster) }))
    .filter(({ branch }) => typeof branch === "string");
  const url = await git.try("config", "--get", `remote.${remote}.url`);
  const named = sources.filter(({ repository }) => repository === url);
  // The remote `platform` is the Git server of the embedded cluster, which no other cluster reads.
  const own = sources.filter(({ cluster }) => (cluster === "embedded") === (remote === "platform"));
  const [meant = []] = [named, own, sources].filter((some) => some.length > 0);
  const [wanted, all] = [meant, sources].map((some) => [...new Set(some.map(({ branch }) => branch))]);
  // A fork that changed one cluster's branch has that branch and not the other.
  const there = await Promise.all(
    (all ?? []).map((branch) => git.resolve(`refs/remotes/${remote}/${branch}`)),
  );
  const existing = (all ?? []).filter((_, at) => there[at] !== undefined);
  return existing.length > 0 && !wanted?.some((branch) => existing.includes(branch))
    ? existing
    : (wanted ?? []);
}
