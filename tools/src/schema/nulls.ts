/** Fields that say nothing. */

/** Where a name with nothing behind it is a name all the same: what is in these is not the schema's to say. */
const open = new Set([
  ...["annotations", "binaryData", "data", "labels", "matchLabels", "nodeSelector", "parameters"],
  ...["stringData", "values", "valuesObject"],
]);

/**
 * Takes the fields without a value out of an object, as the API server does: `env:` with nothing behind it is the same as
 * none. An element of a list stays, for nobody could say which one would be meant.
 */
export function removeNulls(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const element of value) removeNulls(element);
    return;
  }
  const mapping = value as Record<string, unknown>;
  for (const [field, content] of Object.entries(mapping)) {
    if (content === null) delete mapping[field];
    else if (!open.has(field)) removeNulls(content);
  }
}
