import { resolve } from "node:path";
import type { Command } from "commander";
import { WrongConfiguration } from "../../../lib/configuration.ts";
import { Failure } from "../../../lib/failure.ts";
import { followedBranches } from "../../../lib/git/followed.ts";
import { Git } from "../../../lib/git/git.ts";
import { Cache } from "../../../lib/render/cache.ts";
import { cacheDirectory, checkout, UnreadableRepository } from "../../../lib/repository.ts";
import { blastRadius, formatBlastRadius } from "../diff.ts";
import { exitCodes } from "./usage.ts";

/** Adds `diff`. @param home the repository to look at if none is named */
export function addDiff(program: Command, home = checkout): void {
  program
    .command("diff")
    .description("print as Markdown what the working tree changes on the clusters")
    .option(
      "--base <revision>",
      "what to compare with (default: where HEAD left the branch that the cluster follows)",
    )
    .option("-C, --directory <directory>", "root of the repository", (path: string) => resolve(path), home)
    .option("--no-cache", "render everything anew")
    .addHelpText(
      "after",
      "\nExit codes: 0 fine, 1 objects are deleted that no commit's trailer names (preset platform), or an Application no longer renders, 2 wrong command line, 3 nothing to look at",
    )
    .action(async ({ base, directory, cache }: { base?: string; directory: string; cache: boolean }) => {
      const git = new Git(directory);
      const found = base ?? (await forkPoint(git));
      const commit = await git.resolve(found);
      if (!commit) throw new Failure(`no commit named ${found} in this checkout`, "git log --oneline -5");
      const kept = new Cache(cache ? cacheDirectory : undefined);
      const radius = await blastRadius(directory, commit, kept).catch((error: Error) => {
        if (error instanceof UnreadableRepository || error instanceof WrongConfiguration)
          process.exitCode = exitCodes.broken;
        throw error;
      });
      process.stdout.write(formatBlastRadius({ ...radius, base: found }));
      if (radius.unacknowledged.length > 0 || radius.broken.length > 0) process.exitCode = exitCodes.failed;
    });
}

async function forkPoint(git: Git): Promise<string> {
  for (const remote of ["platform", "origin"]) {
    for (const branch of [...(await followedBranches(git, remote)), "main"]) {
      const base = await git.try("merge-base", "HEAD", `refs/remotes/${remote}/${branch}`);
      if (base) return base.slice(0, 12);
    }
  }
  return "HEAD~1";
}
