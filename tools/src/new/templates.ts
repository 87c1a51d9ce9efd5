/** Fills in templates: files with tokens such as __NAME__ in their paths and texts. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The directory with one subdirectory for each part. Paths below that are those of the repository. */
const directory = join(import.meta.dirname, "../../templates/service");

const token = /__([A-Z]+(?:_[A-Z]+)*)__/g;

/** The values of the tokens, by name without the underscores: `{ NAME: "hello" }`. */
export type Values = Readonly<Record<string, string>>;

/** The files of a part with tokens replaced, by path from the repository's root. @throws if a token has no value */
export function fill(part: string, values: Values): Map<string, string> {
  return new Map(
    filesOf(part).map((path) => [
      replaced(path, values),
      replaced(readFileSync(join(directory, part, path), "utf8"), values),
    ]),
  );
}

const filesOf = (part: string): string[] =>
  readdirSync(join(directory, part), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(directory, part).length + 1))
    .filter((path) => !path.split("/").includes("node_modules"))
    .sort();

const replaced = (text: string, values: Values): string =>
  text.replace(token, (found, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`the templates have no value for ${found}`);
    return value;
  });
