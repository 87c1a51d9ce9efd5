import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";

/** One reference moved by a push, as Git hands it to the post-receive hook. */
export interface RefUpdate {
  before: string;
  after: string;
  ref: string;
}

/** What one commit did to which files, in the words of GitHub's payload. */
export interface Commit {
  id: string;
  added: string[];
  removed: string[];
  modified: string[];
}

/** The part of GitHub's push payload that Argo CD reads. */
export interface PushEvent extends RefUpdate {
  repository: { html_url: string; default_branch: string };
  commits: Commit[];
}

const noCommit = /^0+$/;

/** Parses the hook's standard input: one `before after ref` per line. */
export function parseUpdates(input: string): RefUpdate[] {
  return input
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [before = "", after = "", ref = ""] = line.split(" ");
      return { before, after, ref };
    });
}

/** Parses `git diff-tree --stdin -z --name-status`: a commit's hash, then a status and a path for each file. */
export function parseCommits(diffTree: string): Commit[] {
  const commits: Commit[] = [];
  const fields = diffTree.split("\0").values();
  for (const field of fields) {
    const commit = commits.at(-1);
    if (field.length >= 40) {
      commits.push({ id: field, added: [], removed: [], modified: [] });
    } else if (commit && field !== "") {
      const path = fields.next().value ?? "";
      const files = { A: commit.added, D: commit.removed }[field] ?? commit.modified;
      files.push(path);
    }
  }
  return commits;
}

/**
 * Lists the commits of an update with the files they touched, in the repository of the current directory.
 * A new or deleted reference has none, which Argo CD reads as "anything may have changed".
 */
export function readCommits({ before, after }: RefUpdate): Commit[] {
  if (noCommit.test(before) || noCommit.test(after)) return [];
  const options = { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 } as const;
  const revisions = execFileSync("git", ["rev-list", "--reverse", `${before}..${after}`], options);
  const diffTree = ["diff-tree", "--stdin", "-r", "-z", "--no-renames", "--name-status"];
  return parseCommits(
    execFileSync("git", [...diffTree, "--diff-merges=first-parent"], { ...options, input: revisions }),
  );
}

/** Signs a payload as GitHub does: the value of the header X-Hub-Signature-256. */
export function sign(payload: string, secret: string): string {
  return `sha256=${createHmac("sha256", secret).update(payload).digest("hex")}`;
}

/** Posts a push event to a webhook. Rejects with the reason when it was not accepted in time. */
export async function post(event: PushEvent, url: string, secret: string, timeoutMs: number): Promise<void> {
  const body = JSON.stringify(event);
  const response = await fetch(url, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "X-GitHub-Event": "push",
      "X-Hub-Signature-256": sign(body, secret),
    },
    body,
    redirect: "manual",
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
}
