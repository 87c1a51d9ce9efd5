#!/usr/bin/env node
// Git's post-receive hook: tells Argo CD what was pushed. What it prints, Git shows as `remote:` lines.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseUpdates, post, readCommits } from "./push-event.ts";

const timeoutMs = 3000;

/** Reads a setting from the mounted ConfigMap (`config/…`) or Secret (`auth/…`). */
function setting(name: string): string {
  return readFileSync(join(process.env.GIT_SERVER_ETC ?? "/etc/git-server", name), "utf8").trim();
}

/** Says why a request failed: fetch hides the reason in the cause of its error. */
function reason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}

/** Posts one event per updated reference, all within one timeout. */
async function notify(): Promise<void> {
  // Git runs the hook in the repository. The address must be the repoURL of the Applications: Argo CD compares.
  const repository = {
    html_url: `http://${setting("config/host")}/${basename(process.cwd())}`,
    default_branch: execFileSync("git", ["symbolic-ref", "--short", "HEAD"], { encoding: "utf8" }).trim(),
  };
  const url = setting("config/webhook-url");
  const secret = setting("auth/webhook-secret");
  const events = parseUpdates(readFileSync(0, "utf8")).map((update) => ({
    ...update,
    repository,
    commits: readCommits(update),
  }));
  await Promise.all(events.map((event) => post(event, url, secret, timeoutMs)));
}

try {
  await notify();
  console.log("Argo CD was notified.");
} catch (error) {
  console.log(`Argo CD was not notified (${reason(error)}): it finds the push when it next polls.`);
}
