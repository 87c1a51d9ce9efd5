#!/usr/bin/env node
/** What others use of the tool, on repositories of their own: the package's command. */
import { Command } from "commander";
import { addDiff } from "./cli/diff.ts";
import { run } from "./cli/run.ts";
import { addValidate } from "./cli/validate.ts";

const program = new Command("gitops").description("Renders and checks an Argo CD repository").exitOverride();
addValidate(program, process.cwd());
addDiff(program, process.cwd());
await run(program);
