/** Writes the definitions of the pinned operator to where kustomize reads them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkout } from "../../../lib/repository.ts";
import { committed, definitions } from "./index.ts";

for (const [file, text] of Object.entries(await definitions()))
  writeFileSync(join(checkout, committed, file), text);
