/** Pushes the checkout's commits to the platform's Git server, which is an ordinary remote. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { kubectlCommand } from "../../../lib/cluster/kubectl.ts";
import { Failure, until } from "../../../lib/failure.ts";
import { followedBranch } from "../../../lib/git/followed.ts";
import { Git } from "../../../lib/git/git.ts";
import { note, progress } from "../../../lib/progress.ts";
import { credentials } from "./credentials.ts";
import { repository, state } from "./layout.ts";

const remote = "platform";
const credentialFile = (): string => state("secrets", "git-credentials");
const git = new Git(repository);

/** Git settings under which pushes to the platform carry their credentials. */
export const gitCredentialSettings = (gitURL: string): Record<string, string> => ({
  [`credential.${new URL(gitURL).origin}.helper`]: `store --file=${credentialFile()}`,
  // The helper must neither hand out nor store anybody else's password for this address.
  [`credential.${new URL(gitURL).origin}.username`]: "platform",
});

/** Writes the file that git's credential store reads. */
export function writeGitCredentials(gitURL: string): void {
  const url = new URL(gitURL);
  url.username = "platform";
  url.password = credentials().platform;
  mkdirSync(state("secrets"), { recursive: true, mode: 0o700 });
  writeFileSync(credentialFile(), `${url.protocol}//${url.username}:${url.password}@${url.host}\n`, {
    mode: 0o600,
  });
}

/**
 * Adds the remote `platform` and pushes HEAD, without force, to the branch that the cluster follows.
 * @returns the commit at the tip of this branch afterwards
 * @throws Failure if the two have diverged
 */
export async function publish(gitURL: string): Promise<string> {
  writeGitCredentials(gitURL);
  progress("waiting for the Git server");
  await until(
    "Git server",
    120,
    async () => {
      const response = await fetch(new URL("/healthz", gitURL), { signal: AbortSignal.timeout(3000) });
      return response.ok ? undefined : `answered ${response.status}`;
    },
    kubectlCommand("-n", "git", "describe", "pod", "git-server-0"),
  );
  const known = (await git.try("remote", "get-url", remote)) !== undefined;
  await git.run("remote", known ? "set-url" : "add", remote, gitURL);
  for (const [name, value] of Object.entries(gitCredentialSettings(gitURL)))
    await git.run("config", name, value);
  if (await git.isShallow())
    throw new Failure(
      "this clone is shallow: the platform's Git server needs the whole history",
      "git fetch --unshallow",
    );
  await git.run("fetch", "--quiet", "--prune", remote);
  const branch = await followedBranch(git, remote);
  const head = await git.run("rev-parse", "HEAD");
  const theirs = await git.resolve(`refs/remotes/${remote}/${branch}`);
  const dirty = await git.run("status", "--porcelain");
  if (dirty) note(`${dirty.split("\n").length} uncommitted changes stay here: only commits are deployed`);
  if (theirs === head) return head;
  if (theirs && (await git.isAncestor(head, theirs))) {
    const ahead = await git.run("rev-list", "--count", `${head}..${theirs}`);
    note(
      `the platform is ${ahead} commits ahead of this checkout and is left unchanged; to follow: git pull ${remote} ${branch}`,
    );
    return theirs;
  }
  if (theirs && !(await git.isAncestor(theirs, head))) {
    throw new Failure(
      `HEAD (${head.slice(0, 9)}) and the platform's ${branch} (${theirs.slice(0, 9)}) have diverged`,
      `git pull --rebase --autostash ${remote} ${branch} && ./deploy.sh`,
    );
  }
  await git.with({ hooks: true }).run("push", "--quiet", remote, `${head}:refs/heads/${branch}`);
  return head;
}

/** Removes the remote and its settings from the checkout. */
export async function unpublish(gitURL: string): Promise<void> {
  if (!existsSync(repository)) return;
  // Both commands fail if there is nothing to remove.
  await git.try("remote", "remove", remote);
  await git.try("config", "--remove-section", `credential.${new URL(gitURL).origin}`);
  rmSync(credentialFile(), { force: true });
}
