#!/usr/bin/env node
/** The package's command, with which others use the tool on their own repositories. */
import { Command } from "commander";
import { addDiff } from "./cli/diff.ts";
import { run } from "./cli/run.ts";
import { addValidate } from "./cli/validate.ts";

const program = new Command("gitops").description("Renders and checks an Argo CD repository").exitOverride();
addValidate(program, process.cwd());
addDiff(program, process.cwd());
await run(program);
