/** Walks through an object along its schema, and makes the checks of the API server for each part. */
import { isMapping, type KubernetesObject } from "../../../lib/object.ts";
import { argocdFlaws } from "./argocd.ts";
import { celFlaws } from "./cel.ts";
import { type CheckRule, checksOf, type FieldCheck, nameFormat } from "./fields.ts";
import { meshFlaws } from "./mesh.ts";
import { monitoringFlaws } from "./monitoring.ts";
import { togetherFlaws } from "./objects.ts";
import type { Defect } from "./validator.ts";

interface Node {
  $ref?: string;
  properties?: Record<string, Node>;
  items?: Node;
  additionalProperties?: Node | boolean;
  "x-kubernetes-validations"?: { rule: string; message?: string }[];
  "x-kubernetes-list-type"?: string;
  "x-kubernetes-list-map-keys"?: string[];
}

/** Finds what is wrong with an object that has the shape of its schema. */
export function flawsOf(
  object: KubernetesObject,
  schema: Node,
  definitions: Record<string, object>,
): Defect[] {
  const defects: Defect[] = [];
  const visit = (value: unknown, node: Node, path: Defect["path"]): void => {
    if (node.$ref) {
      const name = node.$ref.slice(node.$ref.lastIndexOf("/") + 1);
      const definition = definitions[name] as Node | undefined;
      if (!definition) return;
      if (isMapping(value)) defects.push(...flawsHere(name, value, path));
      visit(value, definition, path);
      return;
    }
    defects.push(...repeatedEntries(value, node, path));
    for (const { message, rule } of celFlaws(value, node["x-kubernetes-validations"]))
      defects.push({ path, message, fix: `make it true: ${rule}`, rule: "mesh-valid" });
    if (Array.isArray(value)) {
      if (node.items)
        for (const [index, element] of value.entries()) visit(element, node.items, [...path, index]);
    } else if (isMapping(value)) {
      for (const [key, content] of Object.entries(value)) {
        const below = node.properties?.[key] ?? node.additionalProperties;
        if (typeof below === "object" && content !== null) visit(content, below, [...path, key]);
      }
    }
  };
  // The schema of a custom resource is not one of Kubernetes' definitions, and there are no checks for it.
  const { $ref = "", ...fields } = schema;
  const name = $ref.slice($ref.lastIndexOf("/") + 1);
  if (definitions[name]) defects.push(...flawsHere(name, object, []));
  visit(object, fields, []);
  const fix = nameFormat(object.kind)(object.metadata.name);
  if (fix) defects.push(flaw({ rule: "name-valid", fix }, object.metadata.name, ["metadata", "name"]));
  return [...defects, ...meshFlaws(object), ...argocdFlaws(object), ...monitoringFlaws(object)];
}

function flawsHere(definition: string, value: Record<string, unknown>, path: Defect["path"]): Defect[] {
  const single = Object.entries(value).flatMap(([field, content]) =>
    checksOf(definition, field).flatMap((check) => fieldFlaws(check, content, [...path, field])),
  );
  const together = togetherFlaws(definition, value).map((found) => ({
    ...found,
    path: [...path, ...found.path],
  }));
  return [...single, ...together];
}

// Default values of fields that distinguish the entries of a list.
const defaults: Record<string, string> = { protocol: "TCP" };

/** Finds duplicate entries in a list. The API server refuses some of them; of others, one overwrites the other. */
function repeatedEntries(value: unknown, node: Node, path: Defect["path"]): Defect[] {
  const type = node["x-kubernetes-list-type"];
  const keys = node["x-kubernetes-list-map-keys"] ?? [];
  if (!Array.isArray(value) || (type !== "set" && keys.length === 0)) return [];
  const seen = new Set<string>();
  return value.flatMap((element, index): Defect[] => {
    const parts =
      type === "set"
        ? [element]
        : keys.map((key) => (isMapping(element) ? element[key] : undefined) ?? defaults[key]);
    if (parts.some((part) => part === undefined)) return [];
    const identity = JSON.stringify(parts);
    if (!seen.has(identity)) {
      seen.add(identity);
      return [];
    }
    const what =
      type === "set" ? parts.join(" ") : keys.map((key, place) => `${key} ${parts[place]}`).join(", ");
    return [
      {
        path: [...path, index],
        message: `${what} is already in the list`,
        fix: "remove one of them",
        rule: "entry-once",
      },
    ];
  });
}

function fieldFlaws({ rule, of, format }: FieldCheck, content: unknown, path: Defect["path"]): Defect[] {
  const parts: { value: unknown; at: Defect["path"] }[] =
    of === "value"
      ? [{ value: content, at: path }]
      : Object.entries(content ?? {}).map(([key, element]) => ({
          value: of === "keys" ? key : element,
          at: [...path, Array.isArray(content) ? Number(key) : key],
        }));
  return parts.flatMap(({ value, at }) => {
    const fix = format(value);
    return fix ? [flaw({ rule, fix }, value, at)] : [];
  });
}

function flaw({ rule, fix }: { rule: CheckRule; fix: string }, value: unknown, path: Defect["path"]): Defect {
  const text = JSON.stringify(value);
  return { path, message: `${text.length > 80 ? `${text.slice(0, 77)}...` : text} is refused`, fix, rule };
}
