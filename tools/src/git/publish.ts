/**
 * Makes one small commit outside the checkout and pushes it without force.
 *
 * Everything happens in a separate linked worktree, and the checkout moves in one step at the end. A killed process leaves at
 * most that worktree behind, which the next run removes.
 */
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../../../lib/failure.ts";
import { pullCommand } from "../../../lib/git/followed.ts";
import { Git, GitFailure } from "../../../lib/git/git.ts";
import { note, progress } from "../../../lib/progress.ts";
import { quoted } from "../../../lib/quoted.ts";
import { readTrailers } from "./trailers.ts";

/** The content of a commit. */
export interface Change {
  /** The new text of each file, by path. */
  files: Map<string, string>;
  /** Files to remove. */
  removed?: string[];
  subject: string;
  /** A trailer with several values gets one line for each. */
  trailers: Record<string, string | string[]>;
}

/** The input of a plan: a worktree at the commit that becomes the parent of the change. */
export interface Base {
  git: Git;
  /** The checkout's HEAD when the command began. */
  head: string;
  /** The remote branch when it was last fetched; undefined if it does not exist. */
  upstream: string | undefined;
  read(file: string): string;
}

/** A plan returns a change, or the reason why there is nothing to do. */
export type Plan = (base: Base) => Promise<Change | { done: string } | { superseded: string }>;

export interface PublishOptions {
  root: string;
  remote: string;
  branch: string;
  push: boolean;
  plan: Plan;
  /** True for a commit that a plan made and nobody has changed since. Such a commit is left out if it conflicts. */
  isOwn: (git: Git, commit: string) => Promise<boolean>;
  /** Checks the worktree after the change was committed there, before the checkout or the remote moves to it. */
  check?: (directory: string) => Promise<void>;
  /** Says what would be committed instead of doing it. */
  dryRun?: boolean;
}

/** The outcome. */
export interface Published {
  outcome: "committed" | "pushed" | "unchanged" | "superseded" | "planned";
  /** The commit of the checkout or, after a push, of the remote branch. */
  commit: string;
  message: string;
}

/** What is checked out. */
interface Place {
  commit: string;
  /** Undefined if HEAD is detached. */
  branch: string | undefined;
}

const attempts = 12;
const worktreePrefix = "gitops-worktree-";
const again = "then run the command again";

/**
 * Commits a plan's change on top of HEAD and, if it is to be pushed, of the remote branch. If somebody else pushes first,
 * the plan is made again on top of their commit.
 * @throws Failure if HEAD's commits conflict with the remote branch, or the remote refuses the push
 */
export async function publish(options: PublishOptions): Promise<Published> {
  const { root, remote, branch, push } = options;
  const checkout = new Git(root);
  await refuseUnfinished(checkout);
  const place = await placeOf(checkout);
  const head = place.commit;
  if (!existsSync(tmpdir()))
    throw new Failure(
      `the directory ${tmpdir()} for temporary files does not exist`,
      `mkdir -p ${quoted(tmpdir())}`,
    );
  await removeAbandonedWorktrees(checkout);
  const directory = mkdtempSync(join(tmpdir(), `${worktreePrefix}${process.pid}-`));
  const git = new Git(directory, { made: true });
  await checkout
    .with({ made: true })
    .run("worktree", "add", "--quiet", "--detach", "--force", directory, head);
  try {
    let upstream =
      push && !options.dryRun
        ? await fetchBranch(checkout, remote, branch)
        : await checkout.resolve(tracking(remote, branch));
    for (let attempt = 1; ; attempt++) {
      if (attempt > 1) await git.run("reset", "--quiet", "--hard", head);
      if (push && upstream) await rebase(git, head, upstream, options);
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
        await moveCheckout(checkout, place, result);
        return { outcome: "files" in plan ? "committed" : "unchanged", commit: result, message };
      }
      progress(`pushing to ${remote}/${branch}`);
      const refused = await pushed(checkout, result, remote, branch);
      if (refused === undefined) {
        await moveCheckout(checkout, place, result);
        return { outcome: "pushed", commit: result, message };
      }
      const seen = upstream;
      upstream = await fetchBranch(checkout, remote, branch);
      if (upstream === seen)
        throw new Failure(
          `${remote} refuses the push: ${refused}`,
          `git push --dry-run ${remote} HEAD:${branch}`,
        );
      if (attempt === attempts) {
        throw new Failure(
          `${remote}/${branch} moved during each of ${attempts} attempts`,
          "the same command",
        );
      }
      // Processes that lost the same race must not all retry at the same moment.
      await sleep(Math.random() * Math.min(5000, 50 * 2 ** attempt));
    }
  } finally {
    await checkout.try("worktree", "remove", "--force", directory);
    rmSync(directory, { recursive: true, force: true });
  }
}

const tracking = (remote: string, branch: string): string => `refs/remotes/${remote}/${branch}`;

async function placeOf(checkout: Git): Promise<Place> {
  const answer = await checkout.try("rev-parse", "HEAD", "--symbolic-full-name", "HEAD");
  // If there is no commit yet, Git's message is shorter when it is asked for nothing else.
  const [commit = "", ref = ""] = (answer ?? (await checkout.run("rev-parse", "--verify", "HEAD"))).split(
    "\n",
  );
  return { commit, branch: /^refs\/heads\/(.*)$/.exec(ref)?.[1] };
}

// Moving HEAD would end the unfinished operation and lose the conflicts that the person has resolved.
async function refuseUnfinished(checkout: Git): Promise<void> {
  const signs: [string, string][] = [
    ["MERGE_HEAD", "a merge"],
    ["CHERRY_PICK_HEAD", "a cherry-pick"],
    ["REVERT_HEAD", "a revert"],
    ["rebase-merge", "a rebase"],
    ["rebase-apply", "a rebase"],
  ];
  const asked = signs.flatMap(([file]) => ["--git-path", file]);
  const paths = (await checkout.run("rev-parse", ...asked)).split("\n");
  const found = paths.findIndex((path) => existsSync(resolve(checkout.directory, path)));
  if (found >= 0)
    throw new Failure(
      `${signs[found]?.[1]} is in progress in this checkout: finish it, ${again}`,
      "git status",
    );
}

// A process that was killed early leaves a directory that is not a worktree yet.
async function removeAbandonedWorktrees(checkout: Git): Promise<void> {
  const abandoned = readdirSync(tmpdir()).filter((name) => {
    const owner = new RegExp(`^${worktreePrefix}(\\d+)-`).exec(name)?.[1];
    return owner !== undefined && isMine(join(tmpdir(), name)) && !isRunning(Number(owner));
  });
  for (const name of abandoned) {
    try {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    } catch {
      // A builder that ran as another user has left files there. They do no harm.
    }
  }
  if (abandoned.length > 0) await checkout.run("worktree", "prune");
}

// Everybody can write to the directory of temporary files. A link is not followed, because it may lead anywhere.
function isMine(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === process.getuid?.();
}

function isRunning(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Fetches one branch, independent of the clone's refspecs; undefined if the remote has no such branch. */
async function fetchBranch(git: Git, remote: string, branch: string): Promise<string | undefined> {
  progress(`fetching ${remote}`);
  if ((await git.try("remote", "get-url", remote)) === undefined)
    throw new Failure(
      `there is no remote ${remote}`,
      "git remote -v (and the same command with --remote NAME)",
    );
  const refspec = `+refs/heads/${branch}:${tracking(remote, branch)}`;
  const options = ["--quiet", "--no-tags", "--no-prune", "--no-recurse-submodules", "--no-write-fetch-head"];
  const fetch = (): Promise<string> => git.run("fetch", ...options, remote, refspec);
  // Two simultaneous fetches in one repository lock each other out of the ref. A second attempt finds it written.
  try {
    await fetch();
  } catch {
    if (!(await hasBranch(git, remote, branch))) return undefined;
    await fetch();
  }
  return git.resolve(tracking(remote, branch));
}

async function hasBranch(git: Git, remote: string, branch: string): Promise<boolean> {
  try {
    await git.run("ls-remote", "--exit-code", remote, `refs/heads/${branch}`);
    return true;
  } catch (error) {
    if (error instanceof GitFailure && error.exitCode === 2) return false;
    throw error;
  }
}

// Our own commits change one scalar and are made again, so one that conflicts with somebody else's is left out.
async function rebase(git: Git, head: string, upstream: string, options: PublishOptions): Promise<void> {
  const { remote, branch, isOwn } = options;
  if (await git.isAncestor(upstream, head)) return;
  const name = `${remote}/${branch}`;
  let leftOut = 0;
  // Without a strategy, a rebase would use the person's pull.twohead. With `ours`, it would silently drop each commit's
  // own changes. Every version of Git knows this name.
  let stopped = await outcome(git.run("rebase", "--quiet", "--strategy=recursive", upstream));
  for (; stopped; leftOut++) {
    const files = await unmerged(git);
    const commit = files.length > 0 ? await git.resolve("REBASE_HEAD") : undefined;
    const subject = commit ? await git.run("log", "-1", "--format=%s", commit) : "";
    if (!commit || !(await isOwn(git, commit))) {
      await git.try("rebase", "--abort");
      if (!commit)
        throw new Failure(
          `the rebase onto ${name} failed: ${stopped.message}`,
          `fix what Git names, ${again}`,
        );
      throw new Failure(
        `"${subject}" conflicts with ${name} in ${files.join(", ")}`,
        pullCommand(remote, branch),
      );
    }
    note(`left out: "${subject}" (${commit.slice(0, 12)}), because ${name} says otherwise`);
    stopped = await outcome(git.run("rebase", "--skip"));
  }
  if (leftOut === 0) await refuseLostMerges(git, head, upstream, options);
}

async function outcome(command: Promise<unknown>): Promise<GitFailure | undefined> {
  try {
    await command;
    return undefined;
  } catch (error) {
    if (error instanceof GitFailure) return error;
    throw error;
  }
}

async function unmerged(git: Git): Promise<string[]> {
  const listed = (await git.run("ls-files", "--unmerged", "-z")).split("\0").filter(Boolean);
  return [...new Set(listed.map((line) => line.slice(line.indexOf("\t") + 1)))];
}

// A rebase flattens merges, so that changes in a merge commit itself would be lost.
async function refuseLostMerges(
  git: Git,
  head: string,
  upstream: string,
  { remote, branch }: PublishOptions,
): Promise<void> {
  const merges = await git.run("rev-list", "--merges", `${upstream}..${head}`);
  if (merges === "") return;
  const merged = await git.try("merge-tree", "--write-tree", upstream, head);
  if (merged === (await git.run("rev-parse", "HEAD^{tree}"))) return;
  const subject = await git.run("log", "-1", "--format=%s", merges.split("\n")[0] ?? "");
  throw new Failure(
    `"${subject}" is a merge with changes of its own, which a rebase onto ${remote}/${branch} would lose`,
    `git pull --no-rebase --no-edit ${remote} ${branch}`,
  );
}

async function commit(
  git: Git,
  { files, removed = [], subject, trailers }: Change,
  check: PublishOptions["check"],
): Promise<void> {
  for (const [file, text] of files) writeFileSync(join(git.directory, file), text);
  for (const file of removed) rmSync(join(git.directory, file), { force: true });
  const lines = linesOf(trailers);
  const message = ["--message", subject, ...(lines.length > 0 ? ["--message", lines.join("\n")] : [])];
  const paths = [...files.keys(), ...removed];
  await git.with({ hooks: true }).run("commit", "--quiet", ...message, "--only", "--", ...paths);
  await keepTrailers(git, lines);
  // The check comes after the commit, because a rule reads the trailers. If it throws, the worktree is removed with the commit.
  await check?.(git.directory);
}

// A person's hook may have appended a paragraph. Then Git no longer sees the lines above it as trailers. `git
// interpret-trailers` does not help: it obeys the person's trailer.NAME settings, with their keys and commands.
async function keepTrailers(git: Git, lines: string[]): Promise<void> {
  const found = await readTrailers(git, "HEAD");
  const lost = lines.filter((line) => !found.includes(line));
  if (lost.length === 0) return;
  const message = (await git.run("log", "-1", "--format=%B")).trimEnd();
  // The lines go below trailers from the hook, or become a new paragraph.
  const complete = [message, ...(found.length > 0 ? [] : [""]), ...lost, ""].join("\n");
  await git.feed(complete, "commit", "--quiet", "--amend", "--file=-");
}

/**
 * Pushes a commit. This runs in the checkout, because a remote's URL may be relative to it.
 * @returns the reason if the push was refused, otherwise undefined
 */
async function pushed(
  checkout: Git,
  commit: string,
  remote: string,
  branch: string,
): Promise<string | undefined> {
  const refused = await outcome(
    checkout
      .with({ hooks: true })
      .run(
        "-c",
        `remote.${remote}.mirror=false`,
        "push",
        "--quiet",
        remote,
        `${commit}:refs/heads/${branch}`,
      ),
  );
  return refused?.message
    .split("\n")
    .filter((line) => !/^(hint|To) ?/.test(line) && line !== "")
    .slice(0, 3)
    .join(" ");
}

/**
 * Moves the checkout's branch. Git updates the files that differ and keeps those that are modified, staged or ignored there.
 * If it cannot do that, it changes nothing.
 */
async function moveCheckout(checkout: Git, from: Place, to: string): Promise<void> {
  if (from.commit === to) return;
  const now = await placeOf(checkout);
  const made = `commit ${to.slice(0, 12)} was made, but this checkout`;
  if (now.branch !== from.branch) {
    const [was, is] = [from, now].map(({ branch }) => branch ?? "a detached HEAD");
    const back = from.branch ?? `--detach ${from.commit.slice(0, 12)}`;
    throw new Failure(
      `${made} was switched from ${was} to ${is} meanwhile`,
      `git switch ${back} && ${await keepCommand(checkout, from.commit, to)}`,
    );
  }
  if (now.commit !== from.commit) {
    if (await checkout.isAncestor(to, now.commit)) return;
    throw new Failure(`${made} has got another commit since`, await keepCommand(checkout, now.commit, to));
  }
  const where = from.branch ? ["-B", from.branch, to] : ["--detach", to];
  const refused = await outcome(checkout.run("checkout", "--quiet", "--no-overwrite-ignore", ...where, "--"));
  if (refused)
    throw new Failure(
      `${made} does not move there: ${refused.message}`,
      await keepCommand(checkout, from.commit, to),
    );
}

/**
 * The command that puts the checkout's commits and changes on top. If they conflict, Git reports that and keeps both.
 * It would overwrite a file that Git ignores here and that the commit has, so such a file is moved away first.
 */
async function keepCommand(checkout: Git, from: string, to: string): Promise<string> {
  const added = ["--name-only", "--diff-filter=A", "--no-renames", "-r", "-z", from, to];
  const paths = (await checkout.run("diff-tree", ...added)).split("\0").filter(Boolean);
  const known = new Set((await checkout.run("ls-files", "-z")).split("\0"));
  const inTheWay = paths.filter((path) => !known.has(path) && existsSync(join(checkout.directory, path)));
  const moves = inTheWay.map((path) => `mv ${quoted(path)} ${quoted(`${path}.mine`)}`);
  return [...moves, `git rebase --autostash ${to.slice(0, 12)}`].join(" && ");
}

function describe(plan: Change | { done: string }): string {
  if ("done" in plan) return plan.done;
  return [
    plan.subject,
    ...[...plan.files.keys()].map((file) => `  edits ${file}`),
    ...(plan.removed ?? []).map((file) => `  removes ${file}`),
    ...linesOf(plan.trailers).map((line) => `  ${line}`),
  ].join("\n");
}

const linesOf = (trailers: Change["trailers"]): string[] =>
  Object.entries(trailers).flatMap(([name, values]) => [values].flat().map((value) => `${name}: ${value}`));
