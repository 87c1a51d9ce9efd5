/** One value in a file changed, and not a byte besides. */
import { isScalar, parseDocument } from "yaml";
import { Failure } from "../failure.ts";
import type { FieldPath } from "../object.ts";
import { formatPath } from "../object.ts";

/**
 * Replaces a scalar of a YAML file; everything around it stays as it is, comments and quotes too.
 * A plain scalar is quoted: a tag of digits would be a number.
 * @throws Failure where the path leads to no scalar
 */
export function replaceYamlScalar(file: string, text: string, path: FieldPath, value: string): string {
  const node = parseDocument(text).getIn(path, true);
  if (!isScalar(node) || !node.range)
    throw new Failure(`${file} has no value at ${formatPath(path)}`, `edit ${file}`);
  const [start, end] = node.range;
  const quote = text[start] === "'" ? "'" : '"';
  return `${text.slice(0, start)}${quote}${value}${quote}${text.slice(end)}`;
}

/**
 * Replaces the value of a line `KEY=value`.
 * @throws Failure where the file has no such line, or several
 */
export function replaceSetting(file: string, text: string, key: string, value: string): string {
  const lines = text.match(new RegExp(`^${key}=`, "gm")) ?? [];
  if (lines.length !== 1) throw new Failure(`${file} has ${lines.length} lines ${key}=`, `edit ${file}`);
  return text.replace(new RegExp(`^(${key}=).*?(\\r?)$`, "m"), (_, name, end) => `${name}${value}${end}`);
}
