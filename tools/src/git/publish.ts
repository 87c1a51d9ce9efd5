/**
 * One small commit, made beside the checkout and pushed without force.
 *
 * Everything happens in a linked worktree of its own; the checkout moves in one step at the end. A process that is killed
 * leaves at most that worktree, which the next run removes.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Failure, sleep } from "../failure.ts";
import { progress } from "../progress.ts";
import { Git } from "./git.ts";

/** What is to be committed. */
export interface Change {
  /** New texts of files, by path. */
  files: Map<string, string>;
  subject: string;
  trailers: Record<string, string>;
}

/** What a plan sees: a worktree at the commit that the change goes on top of. */
export interface Base {
  git: Git;
  /** The checkout's HEAD when the command began. */
  head: string;
  /** The remote branch as last fetched; undefined where it does not exist. */
  upstream: string | undefined;
  read(file: string): string;
}

/** A plan's answer: a change, or why there is nothing to do. */
export type Plan = (base: Base) => Promise<Change | { done: string } | { superseded: string }>;

export interface PublishOptions {
  root: string;
  remote: string;
  branch: string;
  push: boolean;
  plan: Plan;
  /** Looks at the worktree with the change committed there, before checkout or remote move to it. */
  check?: (directory: string) => Promise<void>;
  /** Tells what would be committed instead of doing it. */
  dryRun?: boolean;
}

/** What came of it. */
export interface Published {
  outcome: "committed" | "pushed" | "unchanged" | "superseded" | "planned";
  /** The commit that the checkout, or the remote branch after a push, is at. */
  commit: string;
  message: string;
}

const attempts = 12;
const worktreePrefix = "gitops-worktree-";

/**
 * Commits a plan's change on top of HEAD, and of the remote branch where it is to be pushed. When somebody else pushes
 * first, the plan is made anew on top of that.
 * @throws Failure where HEAD's commits conflict with the remote branch, or the remote refuses
 */
export async function publish(options: PublishOptions): Promise<Published> {
  const { root, remote, branch, push } = options;
  const checkout = new Git(root);
  const head = await checkout.run("rev-parse", "HEAD");
  await removeAbandonedWorktrees(checkout);
  const directory = mkdtempSync(join(tmpdir(), `${worktreePrefix}${process.pid}-`));
  const git = new Git(directory);
  await checkout.run("worktree", "add", "--quiet", "--detach", "--force", directory, head);
  try {
    let upstream = await fetchBranch(checkout, remote, branch, push && !options.dryRun);
    for (let attempt = 1; ; attempt++) {
      if (attempt > 1) await git.run("reset", "--quiet", "--hard", head);
      if (push && upstream) await rebase(git, head, upstream, `${remote}/${branch}`);
      const plan = await options.plan({
        git,
        head,
        upstream,
        read: (file) => readFileSync(join(directory, file), "utf8"),
      });
      if ("superseded" in plan)
        return { outcome: "superseded", commit: upstream ?? head, message: plan.superseded };
      if (options.dryRun) return { outcome: "planned", commit: head, message: describe(plan) };
      if ("files" in plan) await commit(git, plan, options.check);
      const result = await git.run("rev-parse", "HEAD");
      const message = "files" in plan ? plan.subject : plan.done;
      if (!push || result === upstream) {
        await moveCheckout(checkout, head, result);
        return { outcome: "files" in plan ? "committed" : "unchanged", commit: result, message };
      }
      progress(`pushing to ${remote}/${branch}`);
      const refused = await pushed(git, remote, branch);
      if (refused === undefined) {
        await moveCheckout(checkout, head, result);
        return { outcome: "pushed", commit: result, message };
      }
      const seen = upstream;
      upstream = await fetchBranch(checkout, remote, branch, true);
      if (upstream === seen)
        throw new Failure(`${remote} refuses the push: ${refused}`, `git push ${remote} HEAD:${branch}`);
      if (attempt === attempts) {
        throw new Failure(`${remote}/${branch} moved ${attempts} times in between`, "run the command again");
      }
      // Others that lost the same race must not all come back at the same moment.
      await sleep(Math.random() * Math.min(5000, 50 * 2 ** attempt));
    }
  } finally {
    await checkout.try("worktree", "remove", "--force", directory);
    rmSync(directory, { recursive: true, force: true });
  }
}

async function removeAbandonedWorktrees(checkout: Git): Promise<void> {
  const list = await checkout.run("worktree", "list", "--porcelain");
  let abandoned = false;
  for (const [, directory = ""] of list.matchAll(/^worktree (.*)$/gm)) {
    const owner = new RegExp(`^${worktreePrefix}(\\d+)-`).exec(basename(directory))?.[1];
    if (owner && !isRunning(Number(owner))) {
      await checkout.try("worktree", "remove", "--force", "--force", directory);
      rmSync(directory, { recursive: true, force: true });
      abandoned = true;
    }
  }
  if (abandoned) await checkout.try("worktree", "prune");
}

function isRunning(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function fetchBranch(
  git: Git,
  remote: string,
  branch: string,
  needed: boolean,
): Promise<string | undefined> {
  if (needed) {
    progress(`fetching ${remote}`);
    // Two fetches of one repository at the same time lock each other out of the ref; the second try finds it written.
    if ((await git.try("fetch", "--quiet", remote)) === undefined) {
      if ((await git.try("remote", "get-url", remote)) === undefined)
        throw new Failure(`there is no remote ${remote}`, "git remote -v; then --remote NAME");
      await git.run("fetch", "--quiet", remote);
    }
  }
  return git.resolve(`refs/remotes/${remote}/${branch}`);
}

// Our own commits of one scalar are made anew, so one that conflicts with somebody else's is left out.
async function rebase(git: Git, head: string, upstream: string, name: string): Promise<void> {
  if (await git.isAncestor(upstream, head)) return;
  let ended = (await git.try("rebase", "--quiet", upstream)) !== undefined;
  while (!ended) {
    const subject = (await git.try("log", "-1", "--format=%s", "REBASE_HEAD")) ?? "";
    if (!/^(deploy|fault)\(/.test(subject)) {
      const files = await git.run("diff", "--name-only", "--diff-filter=U");
      await git.try("rebase", "--abort");
      const where = files.split("\n").join(", ");
      throw new Failure(
        `"${subject}" conflicts with ${name} in ${where}`,
        `git pull --rebase ${name.replace("/", " ")}`,
      );
    }
    ended = (await git.try("rebase", "--skip")) !== undefined;
  }
}

async function commit(
  git: Git,
  { files, subject, trailers }: Change,
  check: PublishOptions["check"],
): Promise<void> {
  for (const [file, text] of files) writeFileSync(join(git.directory, file), text);
  const body = Object.entries(trailers)
    .map(([name, value]) => `${name}: ${value}`)
    .join("\n");
  const message = ["--message", subject, ...(body ? ["--message", body] : [])];
  await git.run("commit", "--quiet", ...message, "--only", "--", ...files.keys());
  // Only now: a rule reads the trailers too. Where it throws, the commit goes with the worktree.
  await check?.(git.directory);
}

/** Why a push was refused, or undefined where it was not. */
async function pushed(git: Git, remote: string, branch: string): Promise<string | undefined> {
  try {
    await git.run("push", "--quiet", remote, `HEAD:refs/heads/${branch}`);
    return undefined;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return (stderr || message)
      .trim()
      .split("\n")
      .filter((line) => !/^(hint|To) ?/.test(line) && line !== "")
      .slice(0, 3)
      .join(" ");
  }
}

// `--keep` changes the files that differ and leaves uncommitted work alone, or changes nothing.
async function moveCheckout(checkout: Git, from: string, to: string): Promise<void> {
  if (from === to) return;
  const now = await checkout.run("rev-parse", "HEAD");
  const moved = now === from && (await checkout.try("reset", "--quiet", "--keep", to)) !== undefined;
  if (!moved) {
    throw new Failure(
      `commit ${to.slice(0, 12)} is made, but this checkout has changes that keep it from moving there`,
      `git stash && git reset --keep ${to.slice(0, 12)} && git stash pop`,
    );
  }
}

function describe(plan: Change | { done: string }): string {
  if ("done" in plan) return plan.done;
  const trailers = Object.entries(plan.trailers).map(([name, value]) => `${name}: ${value}`);
  return [
    plan.subject,
    ...[...plan.files.keys()].map((file) => `  edits ${file}`),
    ...trailers.map((line) => `  ${line}`),
  ].join("\n");
}
