#!/usr/bin/env node
// Makes the bare repository at the given path ready to be served. Runs before the server, when no Git runs.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

// What a Git killed halfway leaves behind; a lock would refuse every later push.
const leftover = /\.lock$|^gc\.pid$|^objects\/tmp_objdir-[^/]+$/;

/** Creates the repository aside and renames it, so that a kill halfway leaves none rather than half of one. */
function create(repository: string): void {
  const unfinished = `${repository}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  execFileSync("git", ["init", "--quiet", "--bare", "--initial-branch=main", unfinished]);
  execFileSync("sync", ["--file-system", unfinished]);
  renameSync(unfinished, repository);
}

/** Removes the locks and temporary objects of processes that no longer run. */
function clean(repository: string): void {
  for (const path of readdirSync(repository, { recursive: true, encoding: "utf8" })) {
    if (leftover.test(path)) rmSync(join(repository, path), { recursive: true, force: true });
  }
}

const repository = process.argv[2];
if (!repository) throw new Error("usage: prepare-repository.ts <path of the bare repository>");
if (existsSync(repository)) clean(repository);
else create(repository);
