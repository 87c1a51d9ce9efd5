/** Helpers with which checks read a value. Its shape is already checked, but fields may be missing. */
import { isMapping } from "../../../lib/object.ts";
import type { Defect } from "./validator.ts";

export type Value = Record<string, unknown>;

/** A defect at a path below the value that is checked. */
export const defect = (
  path: Defect["path"],
  message: string,
  fix: string,
  rule: NonNullable<Defect["rule"]> = "value-valid",
): Defect => ({ path, message, fix, rule });

/** The mappings in a list; none if it is missing. */
export const list = (value: unknown): Value[] => (Array.isArray(value) ? value.filter(isMapping) : []);
export const texts = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);
export const mapping = (value: unknown): Value => (isMapping(value) ? value : {});
export const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  (Array.isArray(value) && value.length === 0) ||
  (isMapping(value) && Object.keys(value).length === 0);

/** Defects in a part of a value, with the part's path added in front. */
export const below = (path: Defect["path"], defects: Defect[]): Defect[] =>
  defects.map((found) => ({ ...found, path: [...path, ...found.path] }));

/** The defect that a format finds in a field, if the field is set. */
export function fieldFlaw(
  value: Value,
  field: string,
  format: (content: unknown) => string | undefined,
  rule: NonNullable<Defect["rule"]> = "value-valid",
): Defect[] {
  const content = value[field];
  if (content === undefined || content === null) return [];
  const fix = format(content);
  return fix ? [defect([field], `${JSON.stringify(content)} is refused`, fix, rule)] : [];
}
