/** Adds generated files to a working tree. Existing files stay unchanged. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { quoted } from "../../../lib/quoted.ts";
import type { Repository } from "../../../lib/repository.ts";

/** What would be done with each file. */
export interface Layout {
  created: string[];
  /** Lists that get another line. */
  extended: string[];
  same: string[];
}

/**
 * Compares generated files with those of the working tree.
 * @param lists the existing files that get another line
 * @throws Failure if another file exists and differs, because somebody has edited it
 */
export function layout(repository: Repository, files: Map<string, string>, lists: string[]): Layout {
  const found: Layout = { created: [], extended: [], same: [] };
  const edited: string[] = [];
  for (const [path, text] of files) {
    const present = repository.get(path);
    if (present === text) found.same.push(path);
    else if (lists.includes(path)) found.extended.push(path);
    else if (present === undefined) found.created.push(path);
    else edited.push(path);
  }
  const [first, ...others] = edited;
  if (first !== undefined)
    throw new Failure(
      `${[first, ...others].join(", ")} ${others.length === 0 ? "differs" : "differ"} from what would be generated: nothing is written, and edits are kept`,
      `the same command with --print ${quoted(first)} | diff ${quoted(first)} -`,
    );
  return found;
}

/** Writes the missing files of a layout, and the lists. */
export function write(root: string, files: Map<string, string>, { created, extended }: Layout): void {
  for (const path of [...created, ...extended]) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), files.get(path) ?? "");
  }
}
