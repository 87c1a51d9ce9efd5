import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { Cache } from "../render/cache.ts";
import { explain, type Format, formats, listRules, report } from "../report.ts";
import { checkout } from "../repository.ts";
import { validate } from "../validate.ts";
import { exitCodes, WrongUsage } from "./usage.ts";

/** Adds `validate`. */
export function addValidate(program: Command): void {
  program
    .command("validate")
    .description("render everything that Argo CD would render and check it")
    .argument("[directory]", "root of the repository", checkout)
    .addOption(new Option("--format <form>", "how findings are printed").choices(formats).default("people"))
    .option("--explain [rule]", "print what a rule checks and why, or list all rules")
    .option("--no-cache", "render and check everything anew")
    .addHelpText(
      "after",
      "\nExit codes: 0 no findings, 1 findings, 2 wrong command line, 3 a tool is missing",
    )
    .action(
      async (directory: string, options: { format: Format; explain?: string | true; cache: boolean }) => {
        if (options.explain !== undefined) {
          process.stdout.write(explanation(options.explain));
          return;
        }
        const validation = await validate(
          resolve(directory),
          options.cache ? {} : { cache: new Cache(undefined) },
        ).catch((error: Error) => {
          process.exitCode = exitCodes.broken;
          throw error;
        });
        process.stdout.write(report(validation, options.format));
        if (validation.findings.length > 0) process.exitCode = exitCodes.failed;
      },
    );
}

function explanation(rule: string | true): string {
  if (rule === true) return listRules();
  const text = explain(rule);
  if (text === undefined)
    throw new WrongUsage(`there is no rule ${rule}; next: npm run validate -- --explain`);
  return text;
}
