import { statSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { Git } from "../../../lib/git/git.ts";
import { Cache } from "../../../lib/render/cache.ts";
import { checkout, nothingToRead, UnreadableRepository } from "../../../lib/repository.ts";
import { explain, type Format, formats, listRules, report } from "../report.ts";
import { type Validation, validate } from "../validate.ts";
import { exitCodes, WrongUsage } from "./usage.ts";

/** Adds `validate`. @param home the repository to look at if none is named */
export function addValidate(program: Command, home = checkout): void {
  program
    .command("validate")
    .description("render everything that Argo CD would render and check it")
    .argument("[directory]", "root of the repository", home)
    .addOption(new Option("--format <form>", "how findings are printed").choices(formats).default("people"))
    .option("--explain [rule]", "print what a rule checks and why, or list all rules")
    .option("--no-cache", "render and check everything anew")
    .addHelpText(
      "after",
      "\nExit codes: 0 no findings, 1 findings, 2 wrong command line, 3 nothing to look at, or a tool is missing",
    )
    .action(
      async (directory: string, options: { format: Format; explain?: string | true; cache: boolean }) => {
        if (options.explain !== undefined) {
          process.stdout.write(explanation(options.explain));
          return;
        }
        const root = resolve(directory);
        const validation = await looked(root, options.cache).catch((error: Error) => {
          process.exitCode = exitCodes.broken;
          throw error;
        });
        process.stdout.write(report(validation, options.format));
        if (validation.findings.length > 0) process.exitCode = exitCodes.failed;
      },
    );
}

async function looked(root: string, cache: boolean): Promise<Validation> {
  if (!statSync(root, { throwIfNoEntry: false })?.isDirectory())
    throw new UnreadableRepository(`there is no directory ${root}`, "name the root of a repository");
  if ((await new Git(root).try("rev-parse", "--git-dir")) === undefined)
    throw new UnreadableRepository(
      `${root} is not in a Git repository: only files that Git tracks or could track are looked at`,
      `git init ${root}, or name the root of a repository`,
    );
  const validation = await validate(root, cache ? {} : { cache: new Cache(undefined) });
  if (validation.clusters.length === 0) throw nothingToRead(root);
  // Every cluster has a root Application; one that makes no object at all does not tell what should run there.
  if (validation.objects === 0 && validation.findings.length === 0)
    throw new UnreadableRepository(
      `${validation.clusters.join(", ")}: nothing is rendered, because no Application makes an object`,
      "npm run validate -- --explain renders",
    );
  return validation;
}

function explanation(rule: string | true): string {
  if (rule === true) return listRules();
  const text = explain(rule);
  if (text === undefined) throw new WrongUsage(`there is no rule ${rule}`, "npm run validate -- --explain");
  return text;
}
