/** Adds or removes one entry of a kustomization's `resources`, and changes not a single other byte. */
import { isScalar, isSeq, parseDocument } from "yaml";
import { Failure } from "../../../lib/failure.ts";
import { editCommand } from "../git/scalar.ts";

/**
 * Adds a resource after the last one. A resource that is already listed stays where it is.
 * @throws Failure if the file has no list of resources with one line for each
 */
export function listed(file: string, text: string, resource: string): string {
  const items = resources(file, text);
  if (items.some(({ value }) => value === resource)) return text;
  const last = items.at(-1);
  if (!last) throw notALine(file);
  const line = text.slice(last.start, last.end);
  return text.slice(0, last.end) + line.replace(last.value, resource) + text.slice(last.end);
}

/** Removes a resource's line, if there is one. @throws Failure if the file has no such list */
export function unlisted(file: string, text: string, resource: string): string {
  const found = resources(file, text).find(({ value }) => value === resource);
  return found ? text.slice(0, found.start) + text.slice(found.end) : text;
}

interface Line {
  value: string;
  /** Offsets of the line, including its line break. */
  start: number;
  end: number;
}

function resources(file: string, text: string): Line[] {
  const list = parseDocument(text).get("resources");
  if (!isSeq(list)) throw notALine(file);
  return list.items.map((item) => {
    if (!isScalar(item) || !item.range) throw notALine(file);
    const start = text.lastIndexOf("\n", item.range[0]) + 1;
    const found = text.indexOf("\n", item.range[0]);
    const end = found < 0 ? text.length : found + 1;
    if (!/^\s*- /.test(text.slice(start, item.range[0]))) throw notALine(file);
    return { value: String(item.value), start, end };
  });
}

const notALine = (file: string): Failure =>
  new Failure(`${file} has no list of resources with one line for each`, editCommand(file));
