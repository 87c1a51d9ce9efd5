/** Writes the dashboards to where kustomize makes ConfigMaps of them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkout } from "../../../lib/repository.ts";
import { committed, dashboards } from "./index.ts";

for (const [name, text] of Object.entries(dashboards())) writeFileSync(join(checkout, committed, name), text);
