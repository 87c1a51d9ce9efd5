/** Handing the checkout's commits to the platform's Git server, as a remote like any other. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { Failure, until } from "../../../tools/src/failure.ts";
import { run, succeeds } from "../../../tools/src/process.ts";
import { note, progress } from "../../../tools/src/progress.ts";
import { credentials } from "./addons.ts";
import { repository, state } from "./layout.ts";

const remote = "platform";
const credentialFile = (): string => state("secrets", "git-credentials");
const git = (args: string[]): Promise<string> => run("git", ["-C", repository, ...args]);

/** Git settings under which pushes to the platform carry their credentials. */
export const gitCredentialSettings = (gitURL: string): Record<string, string> => ({
  [`credential.${new URL(gitURL).origin}.helper`]: `store --file=${credentialFile()}`,
  // The helper must neither hand out nor keep anybody else's password for this address.
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
 * Adds the remote `platform` and pushes HEAD to its main branch, never by force.
 * @returns the commit that the platform's main branch is at afterwards
 * @throws Failure where the two have diverged
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
    "kubectl -n git describe pod git-server-0",
  );
  if (await succeeds("git", ["-C", repository, "remote", "get-url", remote]))
    await git(["remote", "set-url", remote, gitURL]);
  else await git(["remote", "add", remote, gitURL]);
  for (const [name, value] of Object.entries(gitCredentialSettings(gitURL)))
    await git(["config", name, value]);
  if ((await git(["rev-parse", "--is-shallow-repository"])).trim() === "true") {
    throw new Failure("this clone is shallow: a server cannot take half a history", "git fetch --unshallow");
  }
  await git(["fetch", "--quiet", "--prune", remote]);
  const head = (await git(["rev-parse", "HEAD"])).trim();
  const theirs = (
    await run("git", ["-C", repository, "rev-parse", "--verify", "--quiet", `refs/remotes/${remote}/main`], {
      accept: [1],
    })
  ).trim();
  const dirty = (await git(["status", "--porcelain"])).trim();
  if (dirty) note(`${dirty.split("\n").length} uncommitted changes stay here: only commits are deployed`);
  if (theirs === head) return head;
  if (theirs && (await succeeds("git", ["-C", repository, "merge-base", "--is-ancestor", head, theirs]))) {
    const ahead = (await git(["rev-list", "--count", `${head}..${theirs}`])).trim();
    note(
      `the platform is ${ahead} commits ahead of this checkout and stays there; to follow: git pull ${remote} main`,
    );
    return theirs;
  }
  if (theirs && !(await succeeds("git", ["-C", repository, "merge-base", "--is-ancestor", theirs, head]))) {
    throw new Failure(
      `HEAD (${head.slice(0, 9)}) and the platform's main (${theirs.slice(0, 9)}) have diverged`,
      `git pull --rebase ${remote} main && ./deploy.sh`,
    );
  }
  await git(["push", "--quiet", remote, `${head}:refs/heads/main`]);
  return head;
}

/** Takes remote and settings out of the checkout again. */
export async function unpublish(gitURL: string): Promise<void> {
  if (!existsSync(repository)) return;
  await run("git", ["-C", repository, "remote", "remove", remote], { accept: [2], quiet: true });
  const section = `credential.${new URL(gitURL).origin}`;
  await run("git", ["-C", repository, "config", "--remove-section", section], {
    accept: [5, 128],
    quiet: true,
  });
  rmSync(credentialFile(), { force: true });
}
