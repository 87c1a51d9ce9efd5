/**
 * One small commit, made beside the checkout and pushed without force.
 *
 * Everything happens in a linked worktree of its own; the checkout moves in one step at the end. A process that is killed
 * leaves at most that worktree, which the next run removes.
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

/** What is to be committed. */
export interface Change {
  /** New texts of files, by path. */
  files: Map<string, string>;
  /** Files that go. */
  removed?: string[];
  subject: string;
  /** One with several values has a line for each. */
  trailers: Record<string, string | string[]>;
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
  /** Whether a commit is one that a plan made and nobody changed since: it is left out where it conflicts. */
  isOwn: (git: Git, commit: string) => Promise<boolean>;
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

/** What the checkout had checked out. */
interface Place {
  commit: string;
  /** Undefined where HEAD is detached. */
  branch: string | undefined;
}

const attempts = 12;
const worktreePrefix = "gitops-worktree-";
const again = "then run the command again";

/**
 * Commits a plan's change on top of HEAD, and of the remote branch where it is to be pushed. When somebody else pushes
 * first, the plan is made anew on top of that.
 * @throws Failure where HEAD's commits conflict with the remote branch, or the remote refuses
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
        throw new Failure(`${remote}/${branch} moved ${attempts} times in between`, "the same command");
      }
      // Others that lost the same race must not all come back at the same moment.
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
  // Where there is no commit yet, Git says so in fewer words if it is asked for nothing else.
  const [commit = "", ref = ""] = (answer ?? (await checkout.run("rev-parse", "--verify", "HEAD"))).split(
    "\n",
  );
  return { commit, branch: /^refs\/heads\/(.*)$/.exec(ref)?.[1] };
}

// Moving HEAD would end what is under way, and with it what the person has resolved.
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
      `${signs[found]?.[1]} is under way in this checkout: finish it, ${again}`,
      "git status",
    );
}

// One killed before it was a worktree is a directory only.
async function removeAbandonedWorktrees(checkout: Git): Promise<void> {
  const abandoned = readdirSync(tmpdir()).filter((name) => {
    const owner = new RegExp(`^${worktreePrefix}(\\d+)-`).exec(name)?.[1];
    return owner !== undefined && isMine(join(tmpdir(), name)) && !isRunning(Number(owner));
  });
  for (const name of abandoned) {
    try {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    } catch {
      // A builder that ran as somebody else has left files there; they are in nobody's way.
    }
  }
  if (abandoned.length > 0) await checkout.run("worktree", "prune");
}

// The directory of temporary files is everybody's. A link is left alone too: it leads to who knows what.
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

/** Fetches one branch, whatever the clone follows by itself; undefined where the remote has no such branch. */
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
  // Two fetches of one repository at the same time lock each other out of the ref; the second try finds it written.
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

// Our own commits of one scalar are made anew, so one that conflicts with somebody else's is left out.
async function rebase(git: Git, head: string, upstream: string, options: PublishOptions): Promise<void> {
  const { remote, branch, isOwn } = options;
  if (await git.isAncestor(upstream, head)) return;
  const name = `${remote}/${branch}`;
  let leftOut = 0;
  // Named, because a rebase takes the person's pull.twohead otherwise, the first of several values: with `ours` it throws
  // each commit's own changes away and says nothing. Git of every age knows this name.
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
          `mend what Git names, ${again}`,
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

// A rebase takes merges apart, and what a person changed in the merge commit itself would be gone.
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
  // Only now: a rule reads the trailers too. Where it throws, the commit goes with the worktree.
  await check?.(git.directory);
}

// A person's hook may have put a paragraph below: then Git takes none of the lines above it for a trailer. Not by
// `git interpret-trailers`: it writes the keys and runs the commands of the person's trailer.NAME settings.
async function keepTrailers(git: Git, lines: string[]): Promise<void> {
  const found = await readTrailers(git, "HEAD");
  const lost = lines.filter((line) => !found.includes(line));
  if (lost.length === 0) return;
  const message = (await git.run("log", "-1", "--format=%B")).trimEnd();
  // Below trailers that the hook has put there, or as a paragraph of their own.
  const complete = [message, ...(found.length > 0 ? [] : [""]), ...lost, ""].join("\n");
  await git.feed(complete, "commit", "--quiet", "--amend", "--file=-");
}

/**
 * Pushes a commit, from the checkout: a remote's URL may be relative to it.
 * @returns why it was refused, or undefined where it was not
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
 * Moves the checkout's branch. Git changes the files that differ and leaves alone what is changed, staged or ignored there,
 * or it changes nothing.
 */
async function moveCheckout(checkout: Git, from: Place, to: string): Promise<void> {
  if (from.commit === to) return;
  const now = await placeOf(checkout);
  const made = `commit ${to.slice(0, 12)} is made, but this checkout`;
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
    throw new Failure(`${made} has another commit since`, await keepCommand(checkout, now.commit, to));
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
 * The command that puts commits and changes of the checkout on top; where they conflict, Git says so and keeps both.
 * It does not keep a file that Git ignores here and the commit has, so that is moved away first.
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
