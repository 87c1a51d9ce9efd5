/** Changes one value in a file, and not a single other byte. */
import { isScalar, parseDocument } from "yaml";
import { Failure } from "../../../lib/failure.ts";
import type { FieldPath } from "../../../lib/object.ts";
import { formatPath } from "../../../lib/object.ts";
import { quoted } from "../../../lib/quoted.ts";

/** The command with which a person opens a file to correct it. */
export const editCommand = (file: string): string => `"\${EDITOR:-vi}" ${quoted(file)}`;

/**
 * Replaces a scalar of a YAML file. Everything around it stays as it is, including comments and quotes.
 * A plain scalar gets quotes, because a tag of digits would be read as a number.
 * @throws Failure if the path does not lead to a scalar
 */
export function replaceYamlScalar(file: string, text: string, path: FieldPath, value: string): string {
  const node = parseDocument(text).getIn(path, true);
  if (!isScalar(node) || !node.range)
    throw new Failure(`${file} has no value at ${formatPath(path)}`, editCommand(file));
  const [start, end] = node.range;
  const old = text.slice(start, end);
  const quote = old.startsWith("'") ? "'" : '"';
  // After a key without a value, the space after the colon may be missing too.
  const space = old === "" && text[start - 1] === ":" ? " " : "";
  // A block scalar includes its last line break, which must be kept so that the next key stays on its own line.
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
 * @throws Failure if the file has no such line, or several
 */
export function replaceSetting(file: string, text: string, key: string, value: string): string {
  const lines = text.match(new RegExp(`^${key}=`, "gm")) ?? [];
  if (lines.length !== 1) throw new Failure(`${file} has ${lines.length} lines ${key}=`, editCommand(file));
  return text.replace(new RegExp(`^(${key}=).*?(\\r?)$`, "m"), (_, name, end) => `${name}${value}${end}`);
}
