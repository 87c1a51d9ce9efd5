/** One value in a file changed, and not a byte besides. */
import { isScalar, parseDocument } from "yaml";
import { Failure } from "../../../lib/failure.ts";
import type { FieldPath } from "../../../lib/object.ts";
import { formatPath } from "../../../lib/object.ts";
import { quoted } from "../../../lib/quoted.ts";

/** The command that opens a file for a person to put it right. */
export const editCommand = (file: string): string => `"\${EDITOR:-vi}" ${quoted(file)}`;

/**
 * Replaces a scalar of a YAML file; everything around it stays as it is, comments and quotes too.
 * A plain scalar is quoted: a tag of digits would be a number.
 * @throws Failure where the path leads to no scalar
 */
export function replaceYamlScalar(file: string, text: string, path: FieldPath, value: string): string {
  const node = parseDocument(text).getIn(path, true);
  if (!isScalar(node) || !node.range)
    throw new Failure(`${file} has no value at ${formatPath(path)}`, editCommand(file));
  const [start, end] = node.range;
  const old = text.slice(start, end);
  const quote = old.startsWith("'") ? "'" : '"';
  // A key without a value has none of the space either that keeps them apart.
  const space = old === "" && text[start - 1] === ":" ? " " : "";
  // A block scalar ends with its lines, and what follows must not come to stand on the same.
  const [rest = ""] = node.type?.startsWith("BLOCK_") ? (/(\r?\n)[^\S\r\n]*$/.exec(old) ?? []) : [];
  const changed = `${text.slice(0, start)}${space}${quote}${value}${quote}${rest}${text.slice(end)}`;
  if (parseDocument(changed).getIn(path) !== value)
    throw new Failure(
      `${file} has a value at ${formatPath(path)} that cannot be replaced`,
      editCommand(file),
    );
  return changed;
}

/**
 * Replaces the value of a line `KEY=value`.
 * @throws Failure where the file has no such line, or several
 */
export function replaceSetting(file: string, text: string, key: string, value: string): string {
  const lines = text.match(new RegExp(`^${key}=`, "gm")) ?? [];
  if (lines.length !== 1) throw new Failure(`${file} has ${lines.length} lines ${key}=`, editCommand(file));
  return text.replace(new RegExp(`^(${key}=).*?(\\r?)$`, "m"), (_, name, end) => `${name}${value}${end}`);
}
