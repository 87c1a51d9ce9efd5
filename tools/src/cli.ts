#!/usr/bin/env -S node --import tsx
import { Command } from "commander";
import { addCluster } from "./cli/cluster.ts";
import { addDiff } from "./cli/diff.ts";
import { addImages } from "./cli/images.ts";
import { addNew } from "./cli/new.ts";
import { addRelease } from "./cli/release.ts";
import { addRender } from "./cli/render.ts";
import { run } from "./cli/run.ts";
import { addValidate } from "./cli/validate.ts";

const program = new Command("gitops").description("Works on the platform's GitOps repository").exitOverride();
addValidate(program);
addDiff(program);
addRelease(program);
addNew(program);
addRender(program);
addImages(program);
addCluster(program);

await run(program);
