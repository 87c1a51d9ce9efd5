#!/usr/bin/env -S node --import tsx
import { Command, CommanderError } from "commander";
import { Failure } from "../../lib/failure.ts";
import { note } from "../../lib/progress.ts";
import { addCluster } from "./cli/cluster.ts";
import { addDiff } from "./cli/diff.ts";
import { addImages } from "./cli/images.ts";
import { addNew } from "./cli/new.ts";
import { addRelease } from "./cli/release.ts";
import { addRender } from "./cli/render.ts";
import { exitCodes, spelledOut, WrongUsage } from "./cli/usage.ts";
import { addValidate } from "./cli/validate.ts";

const program = new Command("gitops").description("Works on the platform's GitOps repository").exitOverride();
addValidate(program);
addDiff(program);
addRelease(program);
addNew(program);
addRender(program);
addImages(program);
addCluster(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its message or the help already.
    process.exitCode = error.exitCode === 0 ? 0 : exitCodes.usage;
  } else if (error instanceof WrongUsage) {
    note(`error: ${error.message}`);
    if (error.next) note(`next: ${error.next}`);
    process.exitCode = exitCodes.usage;
  } else {
    // Of a command that failed, its own words; a stack trace would only hide them.
    const { stderr, message } = error as Error & { stderr?: string };
    note((stderr || message).trim());
    if (error instanceof Failure && error.next) note(`next: ${spelledOut(error.next)}`);
    process.exitCode ||= exitCodes.failed;
  }
}
