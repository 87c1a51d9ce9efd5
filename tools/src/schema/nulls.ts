/** Removes fields without a value. */

/** Mappings with free keys, in which a key without a value still counts. The schema does not define their content. */
const open = new Set([
  ...["annotations", "binaryData", "data", "labels", "matchLabels", "nodeSelector", "parameters"],
  ...["stringData", "values", "valuesObject"],
]);

/**
 * Removes fields without a value from an object, as the API server does: an empty `env:` means the same as no `env`. Empty
 * elements of lists are kept, because it is unclear what they mean.
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
