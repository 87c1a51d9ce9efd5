/** Writes the dashboards to where kustomize makes ConfigMaps of them. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { checkout } from "../../../lib/repository.ts";
import { dashboards } from "./index.ts";

for (const [file, text] of Object.entries(dashboards())) {
  mkdirSync(dirname(join(checkout, file)), { recursive: true });
  writeFileSync(join(checkout, file), text);
}
